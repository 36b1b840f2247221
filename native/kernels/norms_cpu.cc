#include <ATen/Parallel.h>

#include <cmath>

#include "kernels/norms.h"
#include "kernels/row_grain.h"

namespace rkif {
namespace {

// Sums run over columns in vector lanes (a fixed order for a build).
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

}  // namespace

void rms_norm(int64_t rows, int64_t d, const float* x, const float* w, float epsilon, float* out, float* inverse) {
  at::parallel_for(0, rows, row_grain(d), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* in = x + i * d;
      float* y = out + i * d;
      const float scale = 1.0f / std::sqrt(sum_of_squares(in, d) / static_cast<float>(d) + epsilon);
      for (int64_t j = 0; j < d; ++j) y[j] = w[j] * (in[j] * scale);
      if (inverse) inverse[i] = scale;
    }
  });
}

void rms_norm_gradient(int64_t rows, int64_t d, const float* x, const float* w, const float* inverse, const float* g,
                       float* dx) {
  at::parallel_for(0, rows, row_grain(d), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* xi = x + i * d;
      const float* gi = g + i * d;
      float* y = dx + i * d;
      const float r = inverse[i];
      const float factor = r * r * r * (sum_of_products(xi, gi, w, d) / static_cast<float>(d));
      for (int64_t j = 0; j < d; ++j) y[j] = r * (gi[j] * w[j]) - xi[j] * factor;
    }
  });
}

void add_rms_norm_weight_gradient(int64_t rows, int64_t d, const float* x, const float* inverse, const float* g,
                                  float* dweight) {
  at::parallel_for(0, d, column_grain(rows), [&](int64_t begin, int64_t end) {
    for (int64_t i = 0; i < rows; ++i) {
      const float* xi = x + i * d;
      const float* gi = g + i * d;
      const float r = inverse[i];
      for (int64_t j = begin; j < end; ++j) dweight[j] += gi[j] * (xi[j] * r);
    }
  });
}

void layer_norm(int64_t rows, int64_t d, const float* x, const float* w, const float* b, float epsilon, float* out,
                Moments* moments) {
  at::parallel_for(0, rows, row_grain(d), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* in = x + i * d;
      float* y = out + i * d;
      const Moments row = moments_of(in, d, epsilon);
      for (int64_t j = 0; j < d; ++j) y[j] = w[j] * ((in[j] - row.mean) * row.inverse) + b[j];
      if (moments) moments[i] = row;
    }
  });
}

void layer_norm_gradient(int64_t rows, int64_t d, const float* x, const float* w, const Moments* moments,
                         const float* g, float* dx) {
  at::parallel_for(0, rows, row_grain(d), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* xi = x + i * d;
      const float* gi = g + i * d;
      float* y = dx + i * d;
      const float mean = moments[i].mean, r = moments[i].inverse;
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
}

void add_layer_norm_parameter_gradients(int64_t rows, int64_t d, const float* x, const Moments* moments, const float* g,
                                        float* dweight, float* dbias) {
  at::parallel_for(0, d, column_grain(rows), [&](int64_t begin, int64_t end) {
    for (int64_t i = 0; i < rows; ++i) {
      const float* xi = x + i * d;
      const float* gi = g + i * d;
      const float mean = moments[i].mean, r = moments[i].inverse;
      for (int64_t j = begin; j < end; ++j) dweight[j] += gi[j] * ((xi[j] - mean) * r);
      for (int64_t j = begin; j < end; ++j) dbias[j] += gi[j];
    }
  });
}

}  // namespace rkif
