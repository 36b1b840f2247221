#include "models/norm.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <cmath>

#include "models/autograd.h"
#include "models/profile.h"
#include "kernels/row_grain.h"

namespace rkif {
namespace {

// Sums run over columns in vector lanes (a fixed order for a build); rows do not depend on each other.
float sum_of_squares(const float* x, int64_t d) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < d; ++j) sum += x[j] * x[j];
  return sum;
}

float sum_of_products(const float* x, const float* g, const float* w, int64_t d) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < d; ++j) sum += x[j] * (g[j] * w[j]);
  return sum;
}

// inverse[i] = 1 / sqrt(mean(x_i^2) + epsilon); may be null.
at::Tensor normalised(const at::Tensor& x, const at::Tensor& weight, double epsilon, float* inverse) {
  NamedWork work("rkif::norm");
  int64_t rows = x.size(0), d = x.size(1);
  at::Tensor out = at::empty_like(x);
  const float* from = x.const_data_ptr<float>();
  const float* w = weight.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  at::parallel_for(0, rows, row_grain(d), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* in = from + i * d;
      float* y = to + i * d;
      float scale = 1.0f / std::sqrt(sum_of_squares(in, d) / static_cast<float>(d) + static_cast<float>(epsilon));
      for (int64_t j = 0; j < d; ++j) y[j] = w[j] * (in[j] * scale);
      if (inverse) inverse[i] = scale;
    }
  });
  return out;
}

struct NormKept {
  at::Tensor x;
  at::Tensor inverse;
  at::Tensor weight;
};

// With r = inverse of the row and g' = g * w: dx = r * g' - x * r^3 * mean(x * g').
at::Tensor gradient_of_input(const NormKept& kept, const at::Tensor& gradient) {
  NamedWork work("rkif::norm");
  int64_t rows = kept.x.size(0), d = kept.x.size(1);
  at::Tensor out = at::empty_like(kept.x);
  const float* x = kept.x.const_data_ptr<float>();
  const float* w = kept.weight.const_data_ptr<float>();
  const float* inverse = kept.inverse.const_data_ptr<float>();
  const float* g = gradient.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  at::parallel_for(0, rows, row_grain(d), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* xi = x + i * d;
      const float* gi = g + i * d;
      float* y = to + i * d;
      float r = inverse[i];
      float factor = r * r * r * (sum_of_products(xi, gi, w, d) / static_cast<float>(d));
      for (int64_t j = 0; j < d; ++j) y[j] = r * (gi[j] * w[j]) - xi[j] * factor;
    }
  });
  return out;
}

void add_gradient_of_weight(const NormKept& kept, const at::Tensor& gradient) {
  NamedWork work("rkif::norm");
  int64_t rows = kept.x.size(0), d = kept.x.size(1);
  const float* x = kept.x.const_data_ptr<float>();
  const float* inverse = kept.inverse.const_data_ptr<float>();
  const float* g = gradient.const_data_ptr<float>();
  float* into = kept.weight.grad().mutable_data_ptr<float>();
  at::parallel_for(0, d, column_grain(rows), [&](int64_t begin, int64_t end) {
    for (int64_t i = 0; i < rows; ++i) {
      const float* xi = x + i * d;
      const float* gi = g + i * d;
      float r = inverse[i];
      for (int64_t j = begin; j < end; ++j) into[j] += gi[j] * (xi[j] * r);
    }
  });
}

struct NormFunction : torch::autograd::Function<NormFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, double epsilon) {
    at::Tensor inverse = at::empty({x.size(0)}, x.options());
    at::Tensor out = normalised(x, weight, epsilon, inverse.mutable_data_ptr<float>());
    keep(context, NormKept{values_of(x), inverse, weight});
    return out;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    NormKept kept = take<NormKept>(context);
    at::Tensor gradient = gradients[0].contiguous();
    if (kept.weight.requires_grad()) add_gradient_of_weight(kept, gradient);
    at::Tensor to_x;
    if (context->needs_input_grad(0)) to_x = gradient_of_input(kept, gradient);
    return {to_x, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  at::Tensor in = x.contiguous();
  if (tracks(in) || tracks(weight)) return NormFunction::apply(in, weight, epsilon);
  return normalised(in, weight, epsilon, nullptr);
}

}  // namespace rkif
