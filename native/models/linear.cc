#include "models/linear.h"

#include <ATen/ops/abs.h>
#include <ATen/ops/add.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/sum.h>

#include <optional>
#include <utility>

#include "models/autograd.h"
#include "models/checkpointed.h"
#include "models/device.h"
#include "models/int8.h"
#include "models/low_rank_path.h"

namespace rkif {
namespace {

// x W^T and y W, computed in the weight's type; int8 gives fp32.
at::Tensor times_transposed(const at::Tensor& x, const Linear& layer) {
  if (layer.scales.defined()) return times_transposed(x, QuantisedRows{layer.weight, layer.scales});
  at::Tensor in = x.to(layer.type());
  const Prepacked* prepacked = layer.prepacked();
  return prepacked ? prepacked->times_transposed(in) : at::mm(in, layer.weight.t());
}

at::Tensor times(const at::Tensor& y, const Linear& layer) {
  if (layer.scales.defined()) return times(y, QuantisedRows{layer.weight, layer.scales});
  at::Tensor in = y.to(layer.type());
  const Prepacked* prepacked = layer.prepacked();
  return prepacked ? prepacked->times(in) : at::mm(in, layer.weight);
}

at::Tensor base_product(const at::Tensor& x, const Linear& layer) {
  at::Tensor y = times_transposed(x, layer).to(at::kFloat);
  if (layer.bias.defined()) y.add_(layer.bias.detach());
  return y;
}

// y += scale * B (A dropout(x)) with the sums of magnitudes; gives A dropout(x) back.
at::Tensor add_with_sums(const at::Tensor& y, const at::Tensor& x, const Linear& layer, const Dropout& place) {
  at::Tensor in = x;
  if (place.active()) {
    in = at::empty_like(x);
    place.apply(x, in);
  }
  at::Tensor h = at::mm(in, layer.a.t());
  at::Tensor out = at::mm(h, layer.b.t());
  y.add_(out, layer.scale);
  if (!computing_again()) {
    layer.a_sums.add_(at::sum(at::abs(h), {0}));
    layer.b_sums.add_(at::sum(out.abs_(), {0}));
  }
  return h;
}

// `low_rank`, where it is wanted, becomes A dropout(x), which the gradient of B needs.
at::Tensor forward_values(const at::Tensor& x, const Linear& layer, const Dropout& place, at::Tensor* low_rank) {
  at::Tensor y = base_product(x, layer);
  if (!layer.adapter_active()) return y;
  at::Tensor in = x.contiguous();
  if (layer.a_sums.defined()) {
    at::Tensor h = add_with_sums(y, in, layer, place);
    if (low_rank) *low_rank = std::move(h);
  } else {
    float* hidden = nullptr;
    if (low_rank) {
      *low_rank = at::empty({in.size(0), layer.a.size(0)}, in.options());
      hidden = low_rank->mutable_data_ptr<float>();
    }
    LowRankPath(layer.a, layer.b, layer.scale, place, in).add_to(y, in, hidden);
  }
  if (layer.has_frozen()) {
    LowRankPath(layer.frozen_a, layer.frozen_b, layer.scale, place, in).add_to(y, in, nullptr);
  }
  return y;
}

struct LinearKept {
  at::Tensor x;         // only where a gradient of A or W needs it
  at::Tensor low_rank;  // A dropout(x)
  const Linear* layer;  // outlives the graph: models own their layers, graphs live within one call
  Dropout place;
};

struct LinearFunction : torch::autograd::Function<LinearFunction> {
  // The leaves are there to put the output on the graph where x is not.
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const std::optional<at::Tensor>& leaf,
                            const std::optional<at::Tensor>& second_leaf, const Linear* layer, const Dropout& place) {
    LinearKept kept{{}, {}, layer, place};
    at::Tensor y = forward_values(x, *layer, place, &kept.low_rank);
    if (leaf) kept.x = values_of(x).contiguous();
    keep(context, std::move(kept));
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    LinearKept kept = take<LinearKept>(context);
    const Linear& layer = *kept.layer;
    at::Tensor dy = gradients[0].contiguous();
    bool needs_x = context->needs_input_grad(0);

    if (layer.weight.defined() && layer.weight.requires_grad()) {
      at::Tensor into = layer.weight.grad();
      into.addmm_(dy.t(), kept.x);
    }
    if (layer.bias.defined() && layer.bias.requires_grad()) {
      at::Tensor into = layer.bias.grad();
      into.add_(at::sum(dy, {0}));
    }
    at::Tensor dx;
    if (needs_x) dx = times(dy, layer).to(at::kFloat);
    if (layer.adapter_active()) {
      LowRankGradients into;
      if (needs_x) into.x = dx.mutable_data_ptr<float>();
      if (layer.has_frozen() && needs_x) {
        LowRankPath(layer.frozen_a, layer.frozen_b, layer.scale, kept.place, dy).backward(nullptr, nullptr, dy, into);
      }
      into.a = layer.a.grad().mutable_data_ptr<float>();
      into.b = layer.b.grad().mutable_data_ptr<float>();
      LowRankPath(layer.a, layer.b, layer.scale, kept.place, dy)
          .backward(kept.x.const_data_ptr<float>(), kept.low_rank.const_data_ptr<float>(), dy, into);
    }
    return {dx, {}, {}, {}, {}};
  }
};

struct NarrowKept {
  const Linear* layer;
  at::ScalarType type;  // of x
};

struct NarrowFunction : torch::autograd::Function<NarrowFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const Linear* layer) {
    keep(context, NarrowKept{layer, x.scalar_type()});
    return times_transposed(x, *layer);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    NarrowKept kept = take<NarrowKept>(context);
    return {times(gradients[0], *kept.layer).to(kept.type), at::Tensor()};
  }
};

}  // namespace

at::Tensor linear_as_stored(const at::Tensor& x, const Linear& layer, const Dropout& adapter_dropout) {
  if (!layer.narrow()) return linear(x, layer, adapter_dropout);
  return tracks(x) ? NarrowFunction::apply(x, &layer) : times_transposed(x, layer);
}

at::Tensor linear(const at::Tensor& x, const Linear& layer, const Dropout& adapter_dropout) {
  std::optional<at::Tensor> leaf, second_leaf;
  if (tracks(layer.weight)) leaf = layer.weight;
  if (layer.adapter_active() && tracks(layer.a)) {
    leaf = layer.a;
    second_leaf = layer.b;
  }
  if (!leaf && !tracks(x)) return forward_values(x, layer, adapter_dropout, nullptr);
  return LinearFunction::apply(x, leaf, second_leaf, &layer, adapter_dropout);
}

bool Linear::narrow() const { return type() == at::kBFloat16 && !bias.defined() && !adapter_active(); }

const at::Tensor& Linear::rounded() const {
  if (!rounded_.defined()) rounded_ = weight.detach().to(at::kBFloat16);
  return rounded_;
}

void Linear::prepack() {
  if (stays_plain || scales.defined() || weight.requires_grad() || !can_prepack(weight.scalar_type())) return;
  prepacked_ = std::make_unique<const Prepacked>(weight);
  weight = at::Tensor();
}

at::Tensor Linear::dense() const {
  at::NoGradGuard no_grad;
  at::Tensor base = (prepacked_ ? prepacked_->plain() : weight).to(at::kFloat);
  if (scales.defined()) base = at::mul(base, scales.unsqueeze(1));
  if (!adapter_active()) return base;
  at::Tensor sum = at::addmm(base, b, a, 1, scale);
  if (has_frozen()) sum.addmm_(frozen_b, frozen_a, 1, scale);
  return sum;
}

void Linear::merge() {
  at::NoGradGuard no_grad;
  at::Tensor merged = dense().to(type());
  // Nothing is changed before all of it is there.
  std::unique_ptr<const Prepacked> merged_prepacked;
  if (prepacked_) {
    merged_prepacked = std::make_unique<const Prepacked>(merged);
    merged = at::Tensor();
  }
  original_ = std::exchange(weight, std::move(merged));
  original_prepacked_ = std::exchange(prepacked_, std::move(merged_prepacked));
  merged_ = true;
}

void Linear::unmerge() {
  weight = std::exchange(original_, {});
  prepacked_ = std::move(original_prepacked_);
  merged_ = false;
}

}  // namespace rkif
