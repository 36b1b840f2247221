#include <algorithm>

#include "kernels/thin_products.h"
#include "kernels/vectors.h"
// After them: it switches contraction on for the rest of the file.
#include "kernels/fused.h"

namespace rkif {
namespace {

// kRows rows of x with kRanks of the thin matrix.
template <class Vec, int kRows, int kRanks>
RKIF_INLINE void tile(int64_t k, const float* x, int64_t stride, const float* thin, int64_t wanted, float* out,
                      int64_t out_stride) {
  constexpr int64_t kLanes = sizeof(Vec) / sizeof(float);
  Vec sum[kRows][kRanks];
#pragma GCC unroll 4
  for (int i = 0; i < kRows; i++) {
#pragma GCC unroll 8
    for (int j = 0; j < kRanks; j++) sum[i][j] = Vec{};
  }
  int64_t p = 0;
  for (; p + kLanes <= k; p += kLanes) {
    Vec row[kRows];
#pragma GCC unroll 4
    for (int i = 0; i < kRows; i++) load(x + i * stride + p, row[i]);
#pragma GCC unroll 8
    for (int j = 0; j < kRanks; j++) {
      Vec factor;
      load(thin + j * k + p, factor);
#pragma GCC unroll 4
      for (int i = 0; i < kRows; i++) sum[i][j] += row[i] * factor;
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kRows; i++) {
#pragma GCC unroll 8
    for (int j = 0; j < kRanks; j++) {
      const Vec lanes = sum[i][j];
      if (j >= wanted) continue;
      float total = lanes_sum(lanes);
      for (int64_t q = p; q < k; q++) total += x[i * stride + q] * thin[j * k + q];
      out[i * out_stride + j] = total;
    }
  }
}

template <class Vec, int kRows, int kRanks>
RKIF_INLINE void products(int64_t rows, int64_t k, const float* x, int64_t stride, const float* thin, int64_t r,
                          float* out) {
  static_assert(kThinRows % kRanks == 0);
  for (int64_t j = 0; j < r; j += kRanks) {
    const float* ranks = thin + j * k;
    int64_t i = 0;
    for (; i + kRows <= rows; i += kRows) {
      tile<Vec, kRows, kRanks>(k, x + i * stride, stride, ranks, r - j, out + i * r + j, r);
    }
    for (; i < rows; i++) tile<Vec, 1, kRanks>(k, x + i * stride, stride, ranks, r - j, out + i * r + j, r);
  }
}

using Products = void(int64_t, int64_t, const float*, int64_t, const float*, int64_t, float*);

void products_base(int64_t rows, int64_t k, const float* x, int64_t stride, const float* thin, int64_t r, float* out) {
  products<Vec4, 2, 4>(rows, k, x, stride, thin, r, out);
}

#if RKIF_X86_VERSIONS
__attribute__((target("arch=x86-64-v3"))) void products_v3(int64_t rows, int64_t k, const float* x, int64_t stride,
                                                           const float* thin, int64_t r, float* out) {
  products<Vec8, 2, 4>(rows, k, x, stride, thin, r, out);
}
__attribute__((target("arch=x86-64-v4"))) void products_v4(int64_t rows, int64_t k, const float* x, int64_t stride,
                                                           const float* thin, int64_t r, float* out) {
  products<Vec16, 2, 8>(rows, k, x, stride, thin, r, out);
}

Products* choose() {
  if (__builtin_cpu_supports("x86-64-v4")) return products_v4;
  return __builtin_cpu_supports("x86-64-v3") ? products_v3 : products_base;
}
#else
Products* choose() { return products_base; }
#endif

Products* const chosen = choose();

}  // namespace

void thin_products(int64_t rows, int64_t k, const float* x, int64_t stride, const float* thin, int64_t r, float* out) {
  chosen(rows, k, x, stride, thin, r, out);
}

}  // namespace rkif
