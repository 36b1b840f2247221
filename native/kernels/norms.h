// RMS and layer normalisation of rows, and their gradients. x, g, out, dx: [rows, columns]; weight, bias: [columns];
// all contiguous fp32. Sums run in a fixed order and do not depend on the number of threads; rows do not depend on each
// other.
#pragma once
#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/sum.h"

namespace rkif {

// out = weight * (x * r), r = 1 / sqrt(mean(x^2) + epsilon) of the row (Zhang and Sennrich, arXiv 1910.07467).
// rounded: the same in bf16, for products that round their operands; one of the two may be null. inverse[i] = r of row
// i; null: not wanted.
void rms_norm(int64_t rows, int64_t columns, const float* x, const float* weight, float epsilon, float* out,
              Bfloat16* rounded, float* inverse);
// g is the sum of its parts, T = float or Bfloat16. With g' = g * weight: dx = r * g' - x * r^3 * mean(x * g'). dx may
// be a part.
template <class T>
void rms_norm_gradient(int64_t rows, int64_t columns, const float* x, const float* weight, const float* inverse,
                       const Parts<T>& g, float* dx);
// dweight += the sum over rows of g * x * r.
void add_rms_norm_weight_gradient(int64_t rows, int64_t columns, const float* x, const float* inverse, const float* g,
                                  float* dweight);

// A row's mean and 1 / sqrt(variance + epsilon).
struct Moments {
  float mean;
  float inverse;
};

// out = weight * n + bias, n = (x - mean) * r (Ba et al., arXiv 1607.06450). Writes every row's moments where `moments`
// is not null.
void layer_norm(int64_t rows, int64_t columns, const float* x, const float* weight, const float* bias, float epsilon,
                float* out, Moments* moments);
// With g' = g * weight: dx = r * (g' - mean(g') - n * mean(g' * n)).
void layer_norm_gradient(int64_t rows, int64_t columns, const float* x, const float* weight, const Moments* moments,
                         const float* g, float* dx);
// dweight += the sum over rows of g * n, dbias += the sum of g.
void add_layer_norm_parameter_gradients(int64_t rows, int64_t columns, const float* x, const Moments* moments,
                                        const float* g, float* dweight, float* dbias);

}  // namespace rkif
