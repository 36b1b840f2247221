#include "models/norm.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "models/autograd.h"
#include "models/device.h"
#include "models/profile.h"

namespace rkif {
namespace {

// `inverse`: of every row, for the backward pass; may be undefined.
at::Tensor normalised(const at::Tensor& x, const at::Tensor& weight, double epsilon, const at::Tensor& inverse) {
  NamedWork work("rkif::norm");
  at::Tensor out = at::empty_like(x);
  kernels_of(x).rms_norm(x.size(0), x.size(1), x.const_data_ptr<float>(), weight.const_data_ptr<float>(),
                         static_cast<float>(epsilon), out.mutable_data_ptr<float>(),
                         inverse.defined() ? inverse.mutable_data_ptr<float>() : nullptr);
  return out;
}

struct NormKept {
  at::Tensor x;
  at::Tensor inverse;
  at::Tensor weight;
};

struct NormFunction : torch::autograd::Function<NormFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, double epsilon) {
    at::Tensor inverse = at::empty({x.size(0)}, x.options());
    at::Tensor out = normalised(x, weight, epsilon, inverse);
    keep(context, NormKept{values_of(x), inverse, weight});
    return out;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    NamedWork work("rkif::norm");
    NormKept kept = take<NormKept>(context);
    at::Tensor gradient = gradients[0].contiguous();
    const Kernels& kernels = kernels_of(kept.x);
    const int64_t rows = kept.x.size(0), columns = kept.x.size(1);
    const float* x = kept.x.const_data_ptr<float>();
    const float* inverse = kept.inverse.const_data_ptr<float>();
    const float* g = gradient.const_data_ptr<float>();
    if (kept.weight.requires_grad()) {
      kernels.add_rms_norm_weight_gradient(rows, columns, x, inverse, g, kept.weight.grad().mutable_data_ptr<float>());
    }
    at::Tensor to_x;
    if (context->needs_input_grad(0)) {
      to_x = at::empty_like(kept.x);
      kernels.rms_norm_gradient(rows, columns, x, kept.weight.const_data_ptr<float>(), inverse, g,
                                to_x.mutable_data_ptr<float>());
    }
    return {to_x, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  at::Tensor in = x.contiguous();
  if (tracks(in) || tracks(weight)) return NormFunction::apply(in, weight, epsilon);
  return normalised(in, weight, epsilon, {});
}

}  // namespace rkif
