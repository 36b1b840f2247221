#include "models/dropout.h"

#include <ATen/ops/empty_like.h>

#include "kernels/residual.h"
#include "models/autograd.h"
#include "models/profile.h"
#include "models/stored.h"

namespace rkif {

std::vector<DropoutRow> Dropout::keys(int64_t count) const {
  if (!active()) return {};
  TORCH_CHECK(count == static_cast<int64_t>(rows->records.size()), "dropout: ", count, " rows, but places of ",
              rows->records.size());
  std::vector<DropoutRow> keys(count);
  for (int64_t i = 0; i < count; ++i) keys[i] = dropout_row(site_key, rows->records[i], rows->positions[i]);
  return keys;
}

void Dropout::apply(const at::Tensor& in, const at::Tensor& out) const {
  NamedWork work("rkif::dropout");
  dropout_rows(in.size(0), in.size(1), in.const_data_ptr<float>(), keys(in.size(0)).data(), rate,
               out.mutable_data_ptr<float>());
}

namespace {

at::Tensor dropped(const at::Tensor& x, const Dropout& place) {
  at::Tensor in = x.contiguous();
  at::Tensor out = at::empty_like(in);
  place.apply(in, out);
  return out;
}

struct DropoutFunction : torch::autograd::Function<DropoutFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const Dropout& place) {
    keep(context, place);
    return dropped(x, place);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {dropped(gradients[0], take<Dropout>(context)), at::Tensor()};
  }
};

struct SublayerEnd {
  Dropout place;
  AbortFlag abort;
  at::ScalarType type;  // of x
};

at::Tensor sum_of(const at::Tensor& residual, const at::Tensor& x, const SublayerEnd& end) {
  NamedWork work("rkif::residual");
  at::Tensor in = x.contiguous(), before = residual.contiguous();
  at::Tensor out = at::empty_like(before);
  const std::vector<DropoutRow> keys = end.place.keys(out.size(0));
  const MaskedMatrix shape{out.size(0), out.size(1), keys.data(), end.place.rate};
  if (end.type == at::kBFloat16) {
    add_residual(shape, stored<float>(before), stored<Bfloat16>(in), stored<float>(out));
  } else {
    add_residual(shape, stored<float>(before), stored<float>(in), stored<float>(out));
  }
  return out;
}

at::Tensor gradient_of_x(const at::Tensor& gradient, const SublayerEnd& end) {
  if (!end.place.active() && end.type == at::kFloat) return gradient;
  NamedWork work("rkif::residual");
  at::Tensor in = gradient.contiguous();
  at::Tensor out = at::empty_like(in, in.options().dtype(end.type));
  const std::vector<DropoutRow> keys = end.place.keys(in.size(0));
  const MaskedMatrix shape{in.size(0), in.size(1), keys.data(), end.place.rate};
  if (end.type == at::kBFloat16) {
    residual_gradient(shape, stored<float>(in), stored<Bfloat16>(out));
  } else {
    residual_gradient(shape, stored<float>(in), stored<float>(out));
  }
  return out;
}

struct AddDroppedFunction : torch::autograd::Function<AddDroppedFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& residual, const at::Tensor& x,
                            const SublayerEnd& end) {
    at::Tensor sum = sum_of(residual, x, end);
    keep(context, end);
    return sum;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    SublayerEnd end = take<SublayerEnd>(context);
    check_abort(end.abort);
    at::Tensor to_residual, to_x;
    // Below the first trained weight one of the two is not on the graph.
    if (context->needs_input_grad(0)) to_residual = gradients[0];
    if (context->needs_input_grad(1)) to_x = gradient_of_x(gradients[0], end);
    return {to_residual, to_x, at::Tensor()};
  }
};

}  // namespace

at::Tensor dropout(const at::Tensor& x, const Dropout& place) {
  if (!place.active()) return x;
  return tracks(x) ? DropoutFunction::apply(x, place) : dropped(x, place);
}

at::Tensor add_dropped(const at::Tensor& residual, const at::Tensor& x, const Dropout& place, const AbortFlag& abort) {
  check_abort(abort);
  SublayerEnd end{place, abort, x.scalar_type()};
  if (tracks(residual) || tracks(x)) return AddDroppedFunction::apply(residual, x, end);
  return sum_of(residual, x, end);
}

}  // namespace rkif
