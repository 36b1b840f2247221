#include "models/norm.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "models/autograd.h"
#include "models/device.h"
#include "models/profile.h"

namespace rkif {
namespace {

struct NormKept {
  RmsNormed of;
  at::Tensor inverse;
};

struct NormFunction : torch::autograd::Function<NormFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, double epsilon) {
    NormKept kept{{values_of(x), weight, epsilon}, {}};
    const NormedRows rows = normed_rows(kept.of, true, false, true);
    kept.inverse = rows.inverse;
    keep(context, std::move(kept));
    return rows.wide;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const NormKept kept = take<NormKept>(context);
    const at::Tensor gradient = gradients[0].contiguous();
    if (kept.of.weight.requires_grad()) add_norm_weight_gradient(kept.of, kept.inverse, gradient);
    at::Tensor dx;
    if (context->needs_input_grad(0)) {
      dx = at::empty_like(kept.of.x);
      norm_gradient(kept.of, kept.inverse, {gradient}, dx);
    }
    return {dx, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

NormedRows normed_rows(const RmsNormed& of, bool wide, bool rounded, bool inverse) {
  NamedWork work("rkif::norm");
  NormedRows rows;
  float *of_wide = nullptr, *of_inverse = nullptr;
  void* of_rounded = nullptr;
  if (wide) {
    rows.wide = at::empty_like(of.x);
    of_wide = rows.wide.mutable_data_ptr<float>();
  }
  if (rounded) {
    rows.rounded = at::empty_like(of.x, of.x.options().dtype(at::kBFloat16));
    of_rounded = rows.rounded.mutable_data_ptr<at::BFloat16>();
  }
  if (inverse) {
    rows.inverse = at::empty({of.x.size(0)}, of.x.options());
    of_inverse = rows.inverse.mutable_data_ptr<float>();
  }
  kernels_of(of.x).rms_norm(of.x.size(0), of.x.size(1), of.x.const_data_ptr<float>(), of.weight.const_data_ptr<float>(),
                            static_cast<float>(of.epsilon), of_wide, static_cast<Bfloat16*>(of_rounded), of_inverse);
  return rows;
}

void add_norm_weight_gradient(const RmsNormed& of, const at::Tensor& inverse, const at::Tensor& g) {
  NamedWork work("rkif::norm");
  at::Tensor into = of.weight.grad();
  kernels_of(of.x).add_rms_norm_weight_gradient(of.x.size(0), of.x.size(1), of.x.const_data_ptr<float>(),
                                                inverse.const_data_ptr<float>(), g.const_data_ptr<float>(),
                                                into.mutable_data_ptr<float>());
}

void norm_gradient(const RmsNormed& of, const at::Tensor& inverse, const std::vector<at::Tensor>& g,
                   const at::Tensor& dx) {
  NamedWork work("rkif::norm");
  kernels_of(of.x).rms_norm_gradient(of.x.size(0), of.x.size(1), of.x.const_data_ptr<float>(),
                                     of.weight.const_data_ptr<float>(), inverse.const_data_ptr<float>(),
                                     stored_type(g[0]), parts_of(g), dx.mutable_data_ptr<float>());
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  at::Tensor in = x.contiguous();
  if (tracks(in) || tracks(weight)) return NormFunction::apply(in, weight, epsilon);
  return normed_rows({in, weight, epsilon}, true, false, false).wide;
}

}  // namespace rkif
