#include "models/linear.h"

#include <ATen/ops/abs.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/sum.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "models/autograd.h"
#include "models/checkpointed.h"
#include "models/device.h"
#include "models/int8.h"
#include "models/low_rank_path.h"
#include "models/profile.h"

namespace rkif {
namespace {

// What the layers of a group read, in the types that they read it in: given, or made by a norm.
class GroupRows {
 public:
  explicit GroupRows(const at::Tensor& rows) : wide_(rows.scalar_type() == at::kFloat ? rows : at::Tensor()) {
    if (!wide_.defined()) rounded_ = rows;
  }
  // Every type that is going to be asked for, in one pass.
  GroupRows(const RmsNormed& of, const std::vector<LinearUse>& uses, at::Tensor* inverse) {
    bool wide = false, rounded = false;
    for (const LinearUse& use : uses) {
      wide = wide || !use.layer->rounds() || use.layer->adapter_active();
      rounded = rounded || use.layer->rounds();
    }
    const NormedRows rows = normed_rows(of, wide, rounded, inverse != nullptr);
    wide_ = rows.wide;
    rounded_ = rows.rounded;
    if (inverse) *inverse = rows.inverse;
  }

  // fp32, which adapters and fp32 weights take.
  const at::Tensor& wide() {
    if (!wide_.defined()) wide_ = rounded_.to(at::kFloat);
    return wide_;
  }
  // bf16, converted once.
  const at::Tensor& rounded() {
    if (!rounded_.defined()) rounded_ = wide_.to(at::kBFloat16);
    return rounded_;
  }
  const at::Tensor& as(at::ScalarType type) { return type == at::kFloat ? wide() : rounded(); }

 private:
  at::Tensor wide_, rounded_;
};

// x W^T and y W, computed in the weight's type; int8 gives fp32.
at::Tensor times_transposed(GroupRows& x, const Linear& layer) {
  if (layer.scales.defined()) return times_transposed(x.rounded(), QuantisedRows{layer.weight, layer.scales});
  const at::Tensor& in = x.as(layer.type());
  const Prepacked* prepacked = layer.prepacked();
  return prepacked ? prepacked->times_transposed(in) : at::mm(in, layer.weight.t());
}

at::Tensor times(const at::Tensor& y, const Linear& layer) {
  if (layer.scales.defined()) return times(y, QuantisedRows{layer.weight, layer.scales});
  at::Tensor in = y.to(layer.type());
  const Prepacked* prepacked = layer.prepacked();
  return prepacked ? prepacked->times(in) : at::mm(in, layer.weight);
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

bool leaves_as_stored(const LinearUse& use) { return use.as_stored && use.layer->narrow(); }

// `low_rank`, where it is wanted, becomes A dropout(x), which the gradient of B needs.
at::Tensor forward_values(GroupRows& x, const LinearUse& use, at::Tensor* low_rank) {
  const Linear& layer = *use.layer;
  const at::Tensor product = times_transposed(x, layer);
  if (leaves_as_stored(use)) return product;
  // The adapter's path then widens it.
  const bool widens = layer.adapter_active() && !layer.a_sums.defined() && !layer.bias.defined() &&
                      product.scalar_type() == at::kBFloat16;
  at::Tensor y = widens ? at::empty(product.sizes(), product.options().dtype(at::kFloat)) : product.to(at::kFloat);
  if (layer.bias.defined()) y.add_(layer.bias.detach());
  if (!layer.adapter_active()) return y;
  at::Tensor in = x.wide().contiguous();
  if (layer.a_sums.defined()) {
    at::Tensor h = add_with_sums(y, in, layer, use.adapter_dropout);
    if (low_rank) *low_rank = std::move(h);
  } else {
    float* hidden = nullptr;
    if (low_rank) {
      *low_rank = at::empty({in.size(0), layer.a.size(0)}, in.options());
      hidden = low_rank->mutable_data_ptr<float>();
    }
    LowRankPath(layer.a, layer.b, layer.scale, use.adapter_dropout, in)
        .add_to(y, in, hidden, widens ? product : at::Tensor());
  }
  if (layer.has_frozen()) {
    LowRankPath(layer.frozen_a, layer.frozen_b, layer.scale, use.adapter_dropout, in).add_to(y, in, nullptr);
  }
  return y;
}

// `low_rank`: of every use, as above; null: not wanted.
std::vector<at::Tensor> group_values(GroupRows& rows, const std::vector<LinearUse>& uses,
                                     std::vector<at::Tensor>* low_rank) {
  std::vector<at::Tensor> outputs;
  for (size_t i = 0; i < uses.size(); ++i) {
    outputs.push_back(forward_values(rows, uses[i], low_rank ? &(*low_rank)[i] : nullptr));
  }
  return outputs;
}

// A tensor of the layer that trains; none: undefined.
const at::Tensor& trained(const Linear& layer) {
  static const at::Tensor none;
  if (layer.adapter_active() && tracks(layer.a)) return layer.a;
  return tracks(layer.weight) ? layer.weight : none;
}

struct LinearKept {
  std::optional<RmsNormed> norm;     // whose rows the layers read
  at::Tensor inverse;                // of the norm
  at::Tensor x;                      // what the layers read; only where a gradient of A or W needs it
  at::ScalarType type;               // of the gradient of what the layers read
  std::vector<at::Tensor> low_rank;  // A dropout(x) of every use
  std::vector<LinearUse> uses;       // models own their layers, graphs live within one call

  bool trains_norm() const { return norm && norm->weight.requires_grad(); }
  // Whether adapters add to the gradient of what the layers read.
  bool adds() const {
    return std::any_of(uses.begin(), uses.end(), [](const LinearUse& use) { return use.layer->adapter_active(); });
  }
};

// The sum of products with weights of one type, in the type of x.
at::Tensor sum_of(const std::vector<at::Tensor>& products, at::ScalarType type) {
  if (products.size() == 1) return products[0].to(type);
  TORCH_INTERNAL_ASSERT(type == at::kFloat);
  NamedWork work("rkif::sum");
  const Parts<void> parts = parts_of(products);
  const bool in_place = products[0].scalar_type() == type;
  at::Tensor sum = in_place ? products[0] : at::empty_like(products[0], products[0].options().dtype(type));
  kernels_of(sum).sum_parts(sum.numel(), stored_type(products[0]), parts, sum.mutable_data_ptr<float>());
  return sum;
}

// Adds the gradients of what trains, and that of x through the adapter to `dx`, where it is defined.
void add_gradients(const LinearUse& use, const at::Tensor& x, const at::Tensor& low_rank, const at::Tensor& dy,
                   const at::Tensor& dx) {
  const Linear& layer = *use.layer;
  if (layer.weight.defined() && layer.weight.requires_grad()) {
    at::Tensor into = layer.weight.grad();
    into.addmm_(dy.t(), x);
  }
  if (layer.bias.defined() && layer.bias.requires_grad()) {
    at::Tensor into = layer.bias.grad();
    into.add_(at::sum(dy, {0}));
  }
  if (!layer.adapter_active()) return;
  LowRankGradients into;
  if (dx.defined()) into.x = dx.mutable_data_ptr<float>();
  if (layer.has_frozen() && dx.defined()) {
    LowRankPath(layer.frozen_a, layer.frozen_b, layer.scale, use.adapter_dropout, dy)
        .backward(nullptr, nullptr, dy, into);
  }
  into.a = layer.a.grad().mutable_data_ptr<float>();
  into.b = layer.b.grad().mutable_data_ptr<float>();
  LowRankPath(layer.a, layer.b, layer.scale, use.adapter_dropout, dy)
      .backward(x.const_data_ptr<float>(), low_rank.const_data_ptr<float>(), dy, into);
}

struct LinearFunction : torch::autograd::Function<LinearFunction> {
  // `leaf`, one that trains, is there to put the outputs on the graph where x is not. Where there is a `norm_weight`,
  // the layers read the rows of x normalised.
  static variable_list forward(AutogradContext* context, const at::Tensor& x, const std::optional<at::Tensor>& leaf,
                               const std::optional<at::Tensor>& norm_weight, double epsilon,
                               const std::vector<LinearUse>& uses) {
    // What nobody used has no gradient: nothing is computed for it.
    context->set_materialize_grads(false);
    LinearKept kept{{}, {}, {}, x.scalar_type(), std::vector<at::Tensor>(uses.size()), uses};
    if (norm_weight) kept.norm = RmsNormed{values_of(x), *norm_weight, epsilon};
    GroupRows rows = kept.norm ? GroupRows(*kept.norm, uses, &kept.inverse) : GroupRows(values_of(x));
    variable_list outputs = group_values(rows, uses, &kept.low_rank);
    if (leaf) kept.x = rows.wide().contiguous();
    keep(context, std::move(kept));
    return outputs;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    LinearKept kept = take<LinearKept>(context);
    std::vector<at::Tensor> dy, products;
    for (const at::Tensor& gradient : gradients) dy.push_back(gradient.defined() ? gradient.contiguous() : gradient);
    if (context->needs_input_grad(0) || kept.trains_norm()) {
      for (size_t i = 0; i < dy.size(); ++i) {
        if (dy[i].defined()) products.push_back(times(dy[i], *kept.uses[i].layer));
      }
    }
    at::Tensor dx;
    const bool any = !products.empty();
    // The norm's gradient takes the products as they are where it is the only one to read their sum.
    if (any && (!kept.norm || kept.adds() || kept.trains_norm())) {
      dx = sum_of(products, kept.type);
      products = {dx};
    }
    for (size_t i = 0; i < dy.size(); ++i) {
      if (dy[i].defined()) add_gradients(kept.uses[i], kept.x, kept.low_rank[i], dy[i], dx);
    }
    if (any && kept.norm) dx = through_norm(kept, products, context->needs_input_grad(0));
    return {dx, {}, {}, {}, {}};
  }

  // `parts`: of the gradient of what the layers read.
  static at::Tensor through_norm(const LinearKept& kept, const std::vector<at::Tensor>& parts, bool needed) {
    if (kept.trains_norm()) add_norm_weight_gradient(*kept.norm, kept.inverse, parts[0]);
    if (!needed) return {};
    at::Tensor dx = parts[0].scalar_type() == at::kFloat ? parts[0] : at::empty_like(kept.norm->x);
    norm_gradient(*kept.norm, kept.inverse, parts, dx);
    return dx;
  }
};

void check_group(const std::vector<LinearUse>& uses) {
  TORCH_CHECK(!uses.empty() && uses.size() <= kMostUses, "linear: ", uses.size(), " layers of the same rows");
  for (const LinearUse& use : uses) {
    TORCH_CHECK(use.layer->type() == uses[0].layer->type(), "linear: layers of the same rows, of different types");
  }
}

// One that trains; none: no value.
std::optional<at::Tensor> trained(const std::vector<LinearUse>& uses) {
  std::optional<at::Tensor> leaf;
  for (const LinearUse& use : uses) {
    if (const at::Tensor& own = trained(*use.layer); own.defined()) leaf = own;
  }
  return leaf;
}

}  // namespace

std::vector<at::Tensor> linear_group(const at::Tensor& x, const std::vector<LinearUse>& uses) {
  check_group(uses);
  TORCH_CHECK(uses.size() == 1 || x.scalar_type() == at::kFloat, "linear: ", x.scalar_type(),
              " rows for several layers");
  const std::optional<at::Tensor> leaf = trained(uses);
  if (leaf || tracks(x)) return LinearFunction::apply(x, leaf, std::nullopt, 0.0, uses);
  GroupRows rows(x);
  return group_values(rows, uses, nullptr);
}

std::vector<at::Tensor> linear_group(const RmsNormed& rows, const std::vector<LinearUse>& uses) {
  check_group(uses);
  const std::optional<at::Tensor> leaf = trained(uses);
  const RmsNormed of{rows.x.contiguous(), rows.weight, rows.epsilon};
  if (leaf || tracks(of.x) || tracks(of.weight)) {
    return LinearFunction::apply(of.x, leaf, std::optional<at::Tensor>(of.weight), of.epsilon, uses);
  }
  GroupRows normed(of, uses, nullptr);
  return group_values(normed, uses, nullptr);
}

at::Tensor linear_as_stored(const at::Tensor& x, const Linear& layer, const Dropout& adapter_dropout) {
  return linear_group(x, {{&layer, adapter_dropout, true}})[0];
}

at::Tensor linear(const at::Tensor& x, const Linear& layer, const Dropout& adapter_dropout) {
  return linear_group(x, {{&layer, adapter_dropout}})[0];
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
