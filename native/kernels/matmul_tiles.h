// A product in tiles that stay in registers, for kernels that name their instructions in a `Multiply`:
//   using Vec = ...;   // a vector of fp32 sums
//   using Word = ...;  // what one sum takes from A, and a lane of B: as wide as a float
//   static void add(Vec& sum, Word a, const Word* b);  // sum += a * the words at b
// (vectors by reference: passed by value they would need one instruction set in all of a file)
#pragma once
#include <cstdint>

#include "kernels/clones.h"
#include "kernels/matmul.h"
#include "kernels/vectors.h"

namespace rkif {

// Rows x (columns of kVectors vectors) of C in registers.
template <class Multiply, int kRows, int kVectors>
RKIF_INLINE void tile(int64_t k, Left<typename Multiply::Word> a, Right<typename Multiply::Word> b, float* c,
                      int64_t c_stride, int64_t columns, bool accumulate) {
  using Vec = typename Multiply::Vec;
  constexpr int kLanes = sizeof(Vec) / sizeof(float);
  // Nothing below indexes a lane of `sum` or fills it as a whole: GCC would keep it in memory then.
  Vec sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; i++) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; v++) sum[i][v] = Vec{};
  }
  for (int64_t p = 0; p < k; p++) {
#pragma GCC unroll 8
    for (int i = 0; i < kRows; i++) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; v++) {
        Multiply::add(sum[i][v], a.data[i * a.row + p * a.column], b.data + p * b.row + v * kLanes);
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; i++) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; v++) {
      float* to = c + i * c_stride + v * kLanes;
      int64_t room = columns - v * kLanes;
      Vec out = sum[i][v];
      if (room >= kLanes) {
        if (accumulate) {
          Vec before;
          load(to, before);
          out = before + out;
        }
        __builtin_memcpy(to, &out, sizeof(Vec));
      } else {
        float lanes[kLanes];
        __builtin_memcpy(lanes, &out, sizeof(Vec));
        for (int64_t j = 0; j < room; j++) to[j] = accumulate ? to[j] + lanes[j] : lanes[j];
      }
    }
  }
}

template <class Multiply, int kRows, int kVectors>
RKIF_INLINE void tiles_of_column(int64_t m, int64_t k, Left<typename Multiply::Word> a,
                                 Right<typename Multiply::Word> b, float* c, int64_t c_stride, int64_t columns,
                                 bool accumulate) {
  int64_t i = 0;
  for (; i + kRows <= m; i += kRows) {
    tile<Multiply, kRows, kVectors>(k, {a.data + i * a.row, a.row, a.column}, b, c + i * c_stride, c_stride, columns,
                                    accumulate);
  }
  Left<typename Multiply::Word> rest{a.data + i * a.row, a.row, a.column};
  c += i * c_stride;
  if constexpr (kRows > 4) {
    if (m - i >= 4) {
      tile<Multiply, 4, kVectors>(k, rest, b, c, c_stride, columns, accumulate);
      rest.data += 4 * a.row;
      c += 4 * c_stride;
      i += 4;
    }
  }
  switch (m - i) {
    case 3:
      return tile<Multiply, 3, kVectors>(k, rest, b, c, c_stride, columns, accumulate);
    case 2:
      return tile<Multiply, 2, kVectors>(k, rest, b, c, c_stride, columns, accumulate);
    case 1:
      return tile<Multiply, 1, kVectors>(k, rest, b, c, c_stride, columns, accumulate);
    default:
      return;
  }
}

template <class Multiply, int kRows>
RKIF_INLINE void matmul_tiled(int64_t m, int64_t n, int64_t k, Left<typename Multiply::Word> a,
                              Right<typename Multiply::Word> b, float* c, int64_t c_stride, bool accumulate) {
  constexpr int64_t kLanes = sizeof(typename Multiply::Vec) / sizeof(float);
  static_assert(kPanelColumns % (2 * kLanes) == 0);
  for (int64_t j = 0; j < n; j += 2 * kLanes) {
    Right<typename Multiply::Word> columns{b.data + j / kPanelColumns * b.panel + j % kPanelColumns, b.row, b.panel};
    if (n - j > kLanes) {
      tiles_of_column<Multiply, kRows, 2>(m, k, a, columns, c + j, c_stride, n - j, accumulate);
    } else {
      tiles_of_column<Multiply, kRows, 1>(m, k, a, columns, c + j, c_stride, n - j, accumulate);
    }
  }
}

}  // namespace rkif
