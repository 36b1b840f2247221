#include "models/layer_norm.h"

#include <ATen/ops/empty_like.h>

#include "models/autograd.h"
#include "models/device.h"
#include "models/profile.h"

namespace rkif {
namespace {

// `moments`: room for those of every row, for the backward pass; may be undefined.
at::Tensor normalised(const at::Tensor& x, const LayerNorm& norm, double epsilon, const at::Tensor& moments) {
  NamedWork work("rkif::norm");
  at::Tensor out = at::empty_like(x);
  kernels_of(x).layer_norm(x.size(0), x.size(1), x.const_data_ptr<float>(), norm.weight.const_data_ptr<float>(),
                           norm.bias.const_data_ptr<float>(), static_cast<float>(epsilon),
                           out.mutable_data_ptr<float>(), moments.defined() ? values_in<Moments>(moments) : nullptr);
  return out;
}

struct LayerNormKept {
  at::Tensor x;
  at::Tensor moments;
  LayerNorm norm;
};

struct LayerNormFunction : torch::autograd::Function<LayerNormFunction> {
  // The weight is an argument of its own to put the output on the graph where x is not; the two train together.
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const LayerNorm& norm, double epsilon) {
    LayerNormKept kept{values_of(x), room_beside<Moments>(x, x.size(0)), norm};
    at::Tensor out = normalised(kept.x, norm, epsilon, kept.moments);
    keep(context, std::move(kept));
    return out;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    NamedWork work("rkif::norm");
    LayerNormKept kept = take<LayerNormKept>(context);
    at::Tensor gradient = gradients[0].contiguous();
    const Kernels& kernels = kernels_of(kept.x);
    const int64_t rows = kept.x.size(0), columns = kept.x.size(1);
    const float* x = kept.x.const_data_ptr<float>();
    const Moments* moments = values_in<Moments>(kept.moments);
    const float* g = gradient.const_data_ptr<float>();
    const LayerNorm& norm = kept.norm;
    if (norm.weight.requires_grad()) {
      kernels.add_layer_norm_parameter_gradients(rows, columns, x, moments, g,
                                                 norm.weight.grad().mutable_data_ptr<float>(),
                                                 norm.bias.grad().mutable_data_ptr<float>());
    }
    at::Tensor to_x;
    if (context->needs_input_grad(0)) {
      to_x = at::empty_like(kept.x);
      kernels.layer_norm_gradient(rows, columns, x, norm.weight.const_data_ptr<float>(), moments, g,
                                  to_x.mutable_data_ptr<float>());
    }
    return {to_x, {}, {}, {}};
  }
};

}  // namespace

at::Tensor layer_norm(const at::Tensor& x, const LayerNorm& norm, double epsilon) {
  at::Tensor in = x.contiguous();
  if (tracks(in) || tracks(norm.weight)) return LayerNormFunction::apply(in, norm.weight, norm, epsilon);
  return normalised(in, norm, epsilon, {});
}

}  // namespace rkif
