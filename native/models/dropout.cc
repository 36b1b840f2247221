#include "models/dropout.h"

#include <ATen/ops/empty_like.h>

#include "models/autograd.h"
#include "models/profile.h"

namespace rkif {

MaskedMatrix masked(const Dropout& place, const at::Tensor& like) {
  MaskedMatrix matrix{like.size(0), like.size(1), {}, place.rate};
  if (!place.active()) return matrix;
  TORCH_CHECK(matrix.rows == place.rows->count(), "dropout: ", matrix.rows, " rows, but places of ",
              place.rows->count());
  const auto* places = static_cast<const uint32_t*>(place.rows->beside(like).const_data_ptr());
  matrix.keys = {place.site_key, places, places + matrix.rows};
  return matrix;
}

void Dropout::apply(const at::Tensor& in, const at::Tensor& out) const {
  NamedWork work("rkif::dropout");
  kernels_of(in).dropout_rows(masked(*this, in), in.const_data_ptr<float>(), out.mutable_data_ptr<float>());
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
  kernels_of(out).add_residual(masked(end.place, out), before.const_data_ptr<float>(), stored_type(in),
                               in.const_data_ptr(), out.mutable_data_ptr<float>());
  return out;
}

at::Tensor gradient_of_x(const at::Tensor& gradient, const SublayerEnd& end) {
  if (!end.place.active() && end.type == at::kFloat) return gradient;
  NamedWork work("rkif::residual");
  at::Tensor in = gradient.contiguous();
  at::Tensor out = at::empty_like(in, in.options().dtype(end.type));
  kernels_of(in).residual_gradient(masked(end.place, in), in.const_data_ptr<float>(), stored_type(out),
                                   out.mutable_data_ptr());
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
