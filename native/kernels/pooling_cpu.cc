#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "kernels/pooling.h"
#include "kernels/row_grain.h"

namespace rkif {
namespace {

float dot(const float* a, const float* b, int64_t d) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < d; ++j) sum += a[j] * b[j];
  return sum;
}

// Texts to give a thread at once.
int64_t text_grain(const PackedTexts& texts, int64_t d) {
  const int64_t rows = texts.count == 0 ? 0 : texts.starts[texts.count];
  return row_grain(d * std::max<int64_t>(1, rows / std::max<int64_t>(1, texts.count)));
}

}  // namespace

void mean_unit_vectors(const PackedTexts& texts, int64_t d, const float* states, float* out, float* lengths) {
  at::parallel_for(0, texts.count, text_grain(texts, d), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* y = out + i * d;
      std::fill(y, y + d, 0.0f);
      for (int64_t row = texts.starts[i]; row < texts.starts[i + 1]; ++row) {
        const float* x = states + row * d;
        for (int64_t j = 0; j < d; ++j) y[j] += x[j];
      }
      const float share = 1.0f / static_cast<float>(texts.starts[i + 1] - texts.starts[i]);
      for (int64_t j = 0; j < d; ++j) y[j] *= share;
      const float length = std::sqrt(dot(y, y, d));
      const float inverse = 1.0f / std::max(length, kShortestMean);
      for (int64_t j = 0; j < d; ++j) y[j] *= inverse;
      if (lengths) lengths[i] = length;
    }
  });
}

void mean_unit_vectors_gradient(const PackedTexts& texts, int64_t d, const float* out, const float* lengths,
                                const float* g, float* dstates) {
  at::parallel_for(0, texts.count, text_grain(texts, d), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* ei = out + i * d;
      const float* gi = g + i * d;
      const int64_t rows = texts.starts[i + 1] - texts.starts[i];
      // A vector too short to be scaled to length 1 was divided by a constant.
      const float along = lengths[i] > kShortestMean ? dot(ei, gi, d) : 0.0f;
      const float factor = 1.0f / (std::max(lengths[i], kShortestMean) * static_cast<float>(rows));
      float* first = dstates + texts.starts[i] * d;
      for (int64_t j = 0; j < d; ++j) first[j] = (gi[j] - ei[j] * along) * factor;
      for (int64_t row = 1; row < rows; ++row) std::copy(first, first + d, first + row * d);
    }
  });
}

}  // namespace rkif
