#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/clones.h"
#include "kernels/vector_ops.h"

namespace rkif {
namespace {

RKIF_CLONES void difference_range(int64_t n, const float* a, const float* b, float* out) {
  RKIF_ELEMENTWISE
  for (int64_t i = 0; i < n; ++i) out[i] = a[i] - b[i];
}

RKIF_CLONES void add_scaled_range(int64_t n, float* x, const float* y, float scale) {
  RKIF_ELEMENTWISE
  for (int64_t i = 0; i < n; ++i) x[i] += scale * y[i];
}

RKIF_CLONES void add_product_range(int64_t n, float* x, const float* a, const float* b, float scale) {
  RKIF_ELEMENTWISE
  for (int64_t i = 0; i < n; ++i) x[i] += scale * a[i] * b[i];
}

RKIF_CLONES void scale_range(int64_t n, float* x, float factor) {
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

RKIF_CLONES void product_range(int64_t n, const float* a, const float* b, float* out) {
  RKIF_ELEMENTWISE
  for (int64_t i = 0; i < n; ++i) out[i] = a[i] * b[i];
}

// The norm's chunks and lanes are fixed, so that the order of its additions depends on nothing but the length.
constexpr int64_t kNormChunk = 32768;
constexpr int kNormLanes = 16;

RKIF_CLONES double square_sum(int64_t n, const float* x) {
  double sums[kNormLanes] = {};
  int64_t i = 0;
  for (; i + kNormLanes <= n; i += kNormLanes) {
    for (int lane = 0; lane < kNormLanes; ++lane) {
      const double value = x[i + lane];
      sums[lane] += value * value;
    }
  }
  for (int lane = 0; i < n; ++i, ++lane) sums[lane] += static_cast<double>(x[i]) * x[i];
  double total = 0;
  for (double sum : sums) total += sum;
  return total;
}

struct SquareSum {
  double sum = 0;
  int64_t non_finite = 0;
};

// Squares of finite fp32 numbers cannot overflow a double, so that only a chunk whose sum is not finite has to be
// looked at by element.
SquareSum finite_square_sum(int64_t n, const float* x) {
  SquareSum result{square_sum(n, x), 0};
  if (std::isfinite(result.sum)) return result;
  std::vector<float> finite(x, x + n);
  for (float& value : finite) {
    if (std::isfinite(value)) continue;
    value = 0;
    ++result.non_finite;
  }
  result.sum = square_sum(n, finite.data());
  return result;
}

}  // namespace

void difference(int64_t n, const float* a, const float* b, float* out) {
  at::parallel_for(0, n, kParallelGrain, [&](int64_t begin, int64_t end) {
    difference_range(end - begin, a + begin, b + begin, out + begin);
  });
}

void add_scaled(int64_t n, float* x, const float* y, float scale) {
  at::parallel_for(0, n, kParallelGrain,
                   [&](int64_t begin, int64_t end) { add_scaled_range(end - begin, x + begin, y + begin, scale); });
}

void add_product(int64_t n, float* x, const float* a, const float* b, float scale) {
  at::parallel_for(0, n, kParallelGrain, [&](int64_t begin, int64_t end) {
    add_product_range(end - begin, x + begin, a + begin, b + begin, scale);
  });
}

void scale(int64_t n, float* x, float factor) {
  at::parallel_for(0, n, kParallelGrain,
                   [&](int64_t begin, int64_t end) { scale_range(end - begin, x + begin, factor); });
}

void product(int64_t n, const float* a, const float* b, float* out) {
  at::parallel_for(0, n, kParallelGrain,
                   [&](int64_t begin, int64_t end) { product_range(end - begin, a + begin, b + begin, out + begin); });
}

Norm norm(int64_t n, const float* x) {
  const int64_t chunks = (n + kNormChunk - 1) / kNormChunk;
  std::vector<SquareSum> parts(chunks);
  at::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const int64_t start = chunk * kNormChunk;
      parts[chunk] = finite_square_sum(std::min(kNormChunk, n - start), x + start);
    }
  });
  double sum = 0;
  Norm result;
  for (const SquareSum& part : parts) {
    sum += part.sum;
    result.non_finite += part.non_finite;
  }
  result.norm = std::sqrt(sum);
  return result;
}

}  // namespace rkif
