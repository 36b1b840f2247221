#include <algorithm>
#include <cstring>

#include "kernels/fused.h"
// After it, which switches contraction on for what it holds.
#include "kernels/matmul_tiles.h"

namespace rkif {
namespace {

template <class Vector>
struct FusedMultiply {
  using Vec = Vector;
  using Word = float;
  static RKIF_INLINE void add(Vec& sum, float a, const float* b) {
    Vec row;
    load(b, row);
    sum += a * row;
  }
};

using Matmul = void(int64_t, int64_t, int64_t, LeftOperand, RightOperand, float*, int64_t, bool);
using PackTransposed = void(int64_t, int64_t, const float*, int64_t, float*);

void matmul_base(int64_t m, int64_t n, int64_t k, LeftOperand a, RightOperand b, float* c, int64_t c_stride,
                 bool accumulate) {
  matmul_tiled<FusedMultiply<Vec4>, 4>(m, n, k, a, b, c, c_stride, accumulate);
}

// Rows ahead that a pass over scattered pieces asks for: what it reads lies a row's length apart, where the CPU does
// not see the next piece coming.
constexpr int64_t kRowsAhead = 8;

// target[j * kPanelColumns + i] = source[i * stride + j] for i < width, j < columns; zeros from row `rows` on.
RKIF_INLINE void turn_rows(int64_t rows, int64_t width, int64_t columns, const float* source, int64_t stride,
                           float* target) {
  for (int64_t j = 0; j < columns; j++, target += kPanelColumns) {
    for (int64_t i = 0; i < rows; i++) target[i] = source[i * stride + j];
    for (int64_t i = rows; i < width; i++) target[i] = 0;
  }
}

void pack_transposed_base(int64_t k, int64_t n, const float* source, int64_t stride, float* packed) {
  for (int64_t panel = 0; panel < n; panel += kPanelColumns, packed += k * kPanelColumns) {
    for (int64_t column = 0; column < kPanelColumns; column += 4) {
      float* to = packed + column;
      const float* from = source + (panel + column) * stride;
      int64_t rows = std::clamp<int64_t>(n - panel - column, 0, 4);
      int64_t p = 0;
      if (rows == 4) {
        for (; p + 4 <= k; p += 4) {
          auto store = [&](int64_t row, Vec4 x) { std::memcpy(to + (p + row) * kPanelColumns, &x, sizeof(x)); };
          Vec4 r0, r1, r2, r3;
          load(from + p, r0);
          load(from + stride + p, r1);
          load(from + 2 * stride + p, r2);
          load(from + 3 * stride + p, r3);
          Vec4 low01 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5),
               high01 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
          Vec4 low23 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5),
               high23 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
          store(0, __builtin_shufflevector(low01, low23, 0, 1, 4, 5));
          store(1, __builtin_shufflevector(low01, low23, 2, 3, 6, 7));
          store(2, __builtin_shufflevector(high01, high23, 0, 1, 4, 5));
          store(3, __builtin_shufflevector(high01, high23, 2, 3, 6, 7));
        }
      }
      turn_rows(rows, 4, k - p, from + p, stride, to + p * kPanelColumns);
    }
  }
}

// Tile sizes differ with the registers, so these are written out where other kernels are cloned.
#if RKIF_X86_VERSIONS
__attribute__((target("arch=x86-64-v3"))) void matmul_v3(int64_t m, int64_t n, int64_t k, LeftOperand a, RightOperand b,
                                                         float* c, int64_t c_stride, bool accumulate) {
  matmul_tiled<FusedMultiply<Vec8>, 6>(m, n, k, a, b, c, c_stride, accumulate);
}

__attribute__((target("arch=x86-64-v4"))) void matmul_v4(int64_t m, int64_t n, int64_t k, LeftOperand a, RightOperand b,
                                                         float* c, int64_t c_stride, bool accumulate) {
  matmul_tiled<FusedMultiply<Vec16>, 8>(m, n, k, a, b, c, c_stride, accumulate);
}

// target[j * kPanelColumns + i] = source[i * stride + j] for i, j < 16. Four steps each of which exchanges halves
// between rows that are 1, 2, 4 and 8 apart.
RKIF_INLINE void turn_square(const float* source, int64_t stride, float* target) {
  Vec16 r[16], t[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++) load(source + i * stride, r[i]);
#pragma GCC unroll 16
  for (int i = 0; i < 16; i += 2) {
    t[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
    t[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; i += 4) {
    for (int half = 0; half < 2; half++) {
      Vec16 low = t[i + half], high = t[i + half + 2];
      r[i + 2 * half] = __builtin_shufflevector(low, high, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
      r[i + 2 * half + 1] =
          __builtin_shufflevector(low, high, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    }
  }
  // r[i + c] has columns c, c + 4, c + 8, c + 12 of rows i to i + 3 in its quarters, which change places with the rows.
#pragma GCC unroll 16
  for (int i = 0; i < 16; i += 8) {
    for (int c = 0; c < 4; c++) {
      Vec16 low = r[i + c], high = r[i + c + 4];
      t[i + c] = __builtin_shufflevector(low, high, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
      t[i + c + 4] = __builtin_shufflevector(low, high, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    }
  }
#pragma GCC unroll 16
  for (int c = 0; c < 8; c++) {
    Vec16 even = __builtin_shufflevector(t[c], t[c + 8], 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
    Vec16 odd = __builtin_shufflevector(t[c], t[c + 8], 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    std::memcpy(target + c * kPanelColumns, &even, sizeof(even));
    std::memcpy(target + (c + 8) * kPanelColumns, &odd, sizeof(odd));
  }
}

__attribute__((target("arch=x86-64-v4"))) void pack_transposed_v4(int64_t k, int64_t n, const float* source,
                                                                  int64_t stride, float* packed) {
  for (int64_t panel = 0; panel < n; panel += kPanelColumns, packed += k * kPanelColumns) {
    for (int64_t column = 0; column < kPanelColumns; column += 16) {
      const int64_t rows = std::clamp<int64_t>(n - panel - column, 0, 16);
      const float* from = source + (panel + column) * stride;
      float* to = packed + column;
      const int64_t next = std::clamp<int64_t>(n - panel - column - 16, 0, 16);
      for (int64_t i = 0; i < next; i++) {
        for (int64_t line = 0; line < k; line += 16) __builtin_prefetch(from + (16 + i) * stride + line);
      }
      int64_t p = 0;
      if (rows == 16) {
        for (; p + 16 <= k; p += 16) turn_square(from + p, stride, to + p * kPanelColumns);
      }
      if (p < k) turn_rows(rows, 16, k - p, from + p, stride, to + p * kPanelColumns);
    }
  }
}

Matmul* choose_matmul() {
  if (__builtin_cpu_supports("x86-64-v4")) return matmul_v4;
  if (__builtin_cpu_supports("x86-64-v3")) return matmul_v3;
  return matmul_base;
}
PackTransposed* choose_pack_transposed() {
  return __builtin_cpu_supports("x86-64-v4") ? pack_transposed_v4 : pack_transposed_base;
}
#else
Matmul* choose_matmul() { return matmul_base; }
PackTransposed* choose_pack_transposed() { return pack_transposed_base; }
#endif

Matmul* const chosen_matmul = choose_matmul();
PackTransposed* const chosen_pack_transposed = choose_pack_transposed();

}  // namespace

void matmul(int64_t m, int64_t n, int64_t k, LeftOperand a, RightOperand b, float* c, int64_t c_stride,
            bool accumulate) {
  chosen_matmul(m, n, k, a, b, c, c_stride, accumulate);
}

void pack(int64_t k, int64_t n, const float* source, int64_t stride, float* packed) {
  const int64_t whole = n / kPanelColumns, rest = n % kPanelColumns, panel = k * kPanelColumns;
  for (int64_t p = 0; p < k; p++) {
    const float* from = source + p * stride;
    float* to = packed + p * kPanelColumns;
    for (int64_t j = 0; j < whole; j++, from += kPanelColumns, to += panel) {
      if (p + kRowsAhead < k) {
        __builtin_prefetch(from + kRowsAhead * stride);
        __builtin_prefetch(from + kRowsAhead * stride + 16);
      }
      std::memcpy(to, from, kPanelColumns * sizeof(float));
    }
    if (rest == 0) continue;
    std::memcpy(to, from, rest * sizeof(float));
    std::memset(to + rest, 0, (kPanelColumns - rest) * sizeof(float));
  }
}

void pack_transposed(int64_t k, int64_t n, const float* source, int64_t stride, float* packed) {
  chosen_pack_transposed(k, n, source, stride, packed);
}

}  // namespace rkif
