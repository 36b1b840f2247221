#include <algorithm>
#include <cstring>

#include "kernels/fused.h"
#include "kernels/matmul.h"

namespace rkif {
namespace {

// Unaligned loads: leading dimensions are the caller's.
using Vec4 = float __attribute__((vector_size(16), aligned(4)));
using Vec8 = float __attribute__((vector_size(32), aligned(4)));
using Vec16 = float __attribute__((vector_size(64), aligned(4)));

// Rows x (columns of kVectors vectors) of C in registers.
template <typename Vec, int kRows, int kVectors>
RKIF_INLINE void tile(int64_t k, LeftOperand a, RightOperand b, float* c, int64_t c_stride, int64_t columns,
                      bool accumulate) {
  constexpr int kLanes = sizeof(Vec) / sizeof(float);
  Vec sum[kRows][kVectors] = {};
  for (int64_t p = 0; p < k; p++) {
    Vec row[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; v++) row[v] = *reinterpret_cast<const Vec*>(b.data + p * b.row + v * kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; i++) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; v++) sum[i][v] += a.data[i * a.row + p * a.column] * row[v];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; i++) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; v++) {
      float* to = c + i * c_stride + v * kLanes;
      int64_t room = columns - v * kLanes;
      if (room >= kLanes) {
        Vec* out = reinterpret_cast<Vec*>(to);
        *out = accumulate ? *out + sum[i][v] : sum[i][v];
      } else {
        for (int64_t j = 0; j < room; j++) to[j] = accumulate ? to[j] + sum[i][v][j] : sum[i][v][j];
      }
    }
  }
}

template <typename Vec, int kRows, int kVectors>
RKIF_INLINE void tiles_of_column(int64_t m, int64_t k, LeftOperand a, RightOperand b, float* c, int64_t c_stride,
                                 int64_t columns, bool accumulate) {
  int64_t i = 0;
  for (; i + kRows <= m; i += kRows) {
    tile<Vec, kRows, kVectors>(k, {a.data + i * a.row, a.row, a.column}, b, c + i * c_stride, c_stride, columns,
                               accumulate);
  }
  LeftOperand rest{a.data + i * a.row, a.row, a.column};
  c += i * c_stride;
  if constexpr (kRows > 4) {
    if (m - i >= 4) {
      tile<Vec, 4, kVectors>(k, rest, b, c, c_stride, columns, accumulate);
      rest.data += 4 * a.row;
      c += 4 * c_stride;
      i += 4;
    }
  }
  switch (m - i) {
    case 3:
      return tile<Vec, 3, kVectors>(k, rest, b, c, c_stride, columns, accumulate);
    case 2:
      return tile<Vec, 2, kVectors>(k, rest, b, c, c_stride, columns, accumulate);
    case 1:
      return tile<Vec, 1, kVectors>(k, rest, b, c, c_stride, columns, accumulate);
    default:
      return;
  }
}

template <typename Vec, int kRows>
RKIF_INLINE void matmul_tiled(int64_t m, int64_t n, int64_t k, LeftOperand a, RightOperand b, float* c,
                              int64_t c_stride, bool accumulate) {
  constexpr int64_t kLanes = sizeof(Vec) / sizeof(float);
  static_assert(kPanelColumns % (2 * kLanes) == 0);
  for (int64_t j = 0; j < n; j += 2 * kLanes) {
    RightOperand columns{b.data + j / kPanelColumns * b.panel + j % kPanelColumns, b.row, b.panel};
    if (n - j > kLanes) {
      tiles_of_column<Vec, kRows, 2>(m, k, a, columns, c + j, c_stride, n - j, accumulate);
    } else {
      tiles_of_column<Vec, kRows, 1>(m, k, a, columns, c + j, c_stride, n - j, accumulate);
    }
  }
}

using Matmul = void(int64_t, int64_t, int64_t, LeftOperand, RightOperand, float*, int64_t, bool);

void matmul_base(int64_t m, int64_t n, int64_t k, LeftOperand a, RightOperand b, float* c, int64_t c_stride,
                 bool accumulate) {
  matmul_tiled<Vec4, 4>(m, n, k, a, b, c, c_stride, accumulate);
}

// Tile sizes differ with the registers, so these are written out where other kernels are cloned.
#if RKIF_X86_VERSIONS
__attribute__((target("arch=x86-64-v3"))) void matmul_v3(int64_t m, int64_t n, int64_t k, LeftOperand a, RightOperand b,
                                                         float* c, int64_t c_stride, bool accumulate) {
  matmul_tiled<Vec8, 6>(m, n, k, a, b, c, c_stride, accumulate);
}

__attribute__((target("arch=x86-64-v4"))) void matmul_v4(int64_t m, int64_t n, int64_t k, LeftOperand a, RightOperand b,
                                                         float* c, int64_t c_stride, bool accumulate) {
  matmul_tiled<Vec16, 8>(m, n, k, a, b, c, c_stride, accumulate);
}

Matmul* choose() {
  if (__builtin_cpu_supports("x86-64-v4")) return matmul_v4;
  if (__builtin_cpu_supports("x86-64-v3")) return matmul_v3;
  return matmul_base;
}
#else
Matmul* choose() { return matmul_base; }
#endif

Matmul* const chosen = choose();

}  // namespace

void matmul(int64_t m, int64_t n, int64_t k, LeftOperand a, RightOperand b, float* c, int64_t c_stride,
            bool accumulate) {
  chosen(m, n, k, a, b, c, c_stride, accumulate);
}

void pack(int64_t k, int64_t n, const float* source, int64_t stride, float* packed) {
  for (int64_t j = 0; j < n; j += kPanelColumns, packed += k * kPanelColumns) {
    int64_t width = std::min(kPanelColumns, n - j);
    if (width == kPanelColumns) {
      for (int64_t p = 0; p < k; p++)
        std::memcpy(packed + p * kPanelColumns, source + p * stride + j, kPanelColumns * sizeof(float));
    } else {
      for (int64_t p = 0; p < k; p++) {
        float* row = packed + p * kPanelColumns;
        const float* from = source + p * stride + j;
        for (int64_t column = 0; column < kPanelColumns; column++) row[column] = column < width ? from[column] : 0;
      }
    }
  }
}

void pack_transposed(int64_t k, int64_t n, const float* source, int64_t stride, float* packed) {
  for (int64_t panel = 0; panel < n; panel += kPanelColumns, packed += k * kPanelColumns) {
    for (int64_t column = 0; column < kPanelColumns; column += 4) {
      float* to = packed + column;
      const float* from = source + (panel + column) * stride;
      int64_t rows = std::clamp<int64_t>(n - panel - column, 0, 4);
      int64_t p = 0;
      if (rows == 4) {
        for (; p + 4 <= k; p += 4) {
          auto load = [&](int64_t row) { return *reinterpret_cast<const Vec4*>(from + row * stride + p); };
          auto store = [&](int64_t row, Vec4 x) { *reinterpret_cast<Vec4*>(to + (p + row) * kPanelColumns) = x; };
          Vec4 r0 = load(0), r1 = load(1), r2 = load(2), r3 = load(3);
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
      for (; p < k; p++) {
        for (int64_t row = 0; row < 4; row++) to[p * kPanelColumns + row] = row < rows ? from[row * stride + p] : 0;
      }
    }
  }
}

}  // namespace rkif
