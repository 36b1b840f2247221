#include "models/layer_norm.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <cmath>

#include "models/autograd.h"
#include "models/profile.h"
#include "kernels/row_grain.h"

namespace rkif {
namespace {

// A row's mean and 1 / sqrt(variance + epsilon).
struct Moments {
  float mean;
  float inverse;
};

// Sums run over columns in vector lanes (a fixed order for a build); rows do not depend on each other.
Moments moments_of(const float* x, int64_t d, float epsilon) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < d; ++j) sum += x[j];
  const float mean = sum / static_cast<float>(d);
  // Of the differences: the mean of the squares less the square of the mean would cancel.
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t j = 0; j < d; ++j) squares += (x[j] - mean) * (x[j] - mean);
  return {mean, 1.0f / std::sqrt(squares / static_cast<float>(d) + epsilon)};
}

// Writes every row's moments where `moments` is not null.
at::Tensor normalised(const at::Tensor& x, const LayerNorm& norm, double epsilon, Moments* moments) {
  NamedWork work("rkif::norm");
  const int64_t rows = x.size(0), d = x.size(1);
  at::Tensor out = at::empty_like(x);
  const float* from = x.const_data_ptr<float>();
  const float* w = norm.weight.const_data_ptr<float>();
  const float* b = norm.bias.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  at::parallel_for(0, rows, row_grain(d), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* in = from + i * d;
      float* y = to + i * d;
      const Moments row = moments_of(in, d, static_cast<float>(epsilon));
      for (int64_t j = 0; j < d; ++j) y[j] = w[j] * ((in[j] - row.mean) * row.inverse) + b[j];
      if (moments) moments[i] = row;
    }
  });
  return out;
}

struct LayerNormKept {
  at::Tensor x;
  std::vector<Moments> moments;
  LayerNorm norm;
};

// With r = inverse, n = (x - mean) * r and g' = g * w of the row: dx = r * (g' - mean(g') - n * mean(g' * n)).
at::Tensor gradient_of_input(const LayerNormKept& kept, const at::Tensor& gradient) {
  NamedWork work("rkif::norm");
  const int64_t rows = kept.x.size(0), d = kept.x.size(1);
  at::Tensor out = at::empty_like(kept.x);
  const float* x = kept.x.const_data_ptr<float>();
  const float* w = kept.norm.weight.const_data_ptr<float>();
  const float* g = gradient.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  at::parallel_for(0, rows, row_grain(d), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* xi = x + i * d;
      const float* gi = g + i * d;
      float* y = to + i * d;
      const float mean = kept.moments[i].mean, r = kept.moments[i].inverse;
      float sum = 0, along = 0;
#pragma omp simd reduction(+ : sum, along)
      for (int64_t j = 0; j < d; ++j) {
        const float gw = gi[j] * w[j];
        sum += gw;
        along += gw * ((xi[j] - mean) * r);
      }
      const float shift = sum / static_cast<float>(d), factor = along / static_cast<float>(d);
      for (int64_t j = 0; j < d; ++j) y[j] = r * (gi[j] * w[j] - shift - (xi[j] - mean) * r * factor);
    }
  });
  return out;
}

void add_gradients_of_norm(const LayerNormKept& kept, const at::Tensor& gradient) {
  NamedWork work("rkif::norm");
  const int64_t rows = kept.x.size(0), d = kept.x.size(1);
  const float* x = kept.x.const_data_ptr<float>();
  const float* g = gradient.const_data_ptr<float>();
  float* into_weight = kept.norm.weight.grad().mutable_data_ptr<float>();
  float* into_bias = kept.norm.bias.grad().mutable_data_ptr<float>();
  at::parallel_for(0, d, column_grain(rows), [&](int64_t begin, int64_t end) {
    for (int64_t i = 0; i < rows; ++i) {
      const float* xi = x + i * d;
      const float* gi = g + i * d;
      const float mean = kept.moments[i].mean, r = kept.moments[i].inverse;
      for (int64_t j = begin; j < end; ++j) into_weight[j] += gi[j] * ((xi[j] - mean) * r);
      for (int64_t j = begin; j < end; ++j) into_bias[j] += gi[j];
    }
  });
}

struct LayerNormFunction : torch::autograd::Function<LayerNormFunction> {
  // The weight is an argument of its own to put the output on the graph where x is not; the two train together.
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const LayerNorm& norm, double epsilon) {
    LayerNormKept kept{values_of(x), std::vector<Moments>(x.size(0)), norm};
    at::Tensor out = normalised(kept.x, norm, epsilon, kept.moments.data());
    keep(context, std::move(kept));
    return out;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    LayerNormKept kept = take<LayerNormKept>(context);
    at::Tensor gradient = gradients[0].contiguous();
    if (kept.norm.weight.requires_grad()) add_gradients_of_norm(kept, gradient);
    at::Tensor to_x;
    if (context->needs_input_grad(0)) to_x = gradient_of_input(kept, gradient);
    return {to_x, {}, {}, {}};
  }
};

}  // namespace

at::Tensor layer_norm(const at::Tensor& x, const LayerNorm& norm, double epsilon) {
  at::Tensor in = x.contiguous();
  if (tracks(in) || tracks(norm.weight)) return LayerNormFunction::apply(in, norm.weight, norm, epsilon);
  return normalised(in, norm, epsilon, nullptr);
}

}  // namespace rkif
