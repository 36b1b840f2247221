// Tiles of vectors in bfloat16 and their products on tensor cores, for attention with narrow products. A block of four
// warps takes a tile of 64 queries (or of keys, for their gradients), 16 a warp, and goes over the tiles that it meets.
// A lane holds scores as products of tensor cores leave them: element 2 r + c of [n] belongs to the row g + 8 r of the
// warp's and the column 8 n + 2 t + c.
#pragma once
#include <algorithm>
#include <initializer_list>
#include <type_traits>

#include "kernels/cuda/attention_parts.h"
#include "kernels/cuda/tensor_cores.h"

namespace rkif::cuda::narrow {

inline constexpr int kThreads = 128;
inline constexpr int kTile = 64;
inline constexpr int kRowsOfWarp = 16;

// Elements between a tile's rows in shared memory: 16 bytes more than a vector has, so that the rows of a matrix lie in
// different banks.
template <int kSize>
constexpr int kRow = kSize + 8;

__device__ inline int lane() { return static_cast<int>(threadIdx.x) % kWarp; }
__device__ inline int first_row() { return static_cast<int>(threadIdx.x) / kWarp * kRowsOfWarp; }
// The tile's row of element i of a lane's products, and the column within [n].
__device__ inline int row_of(int i) { return first_row() + lane() / 4 + i / 2 * 8; }
__device__ inline int column_of(int n, int i) { return 8 * n + 2 * (lane() % 4) + i % 2; }

// Begins to copy `kRows` vectors, `stride` elements apart; zeros from `count` on.
template <int kSize, int kRows>
__device__ void copy_vectors(const Bfloat16* from, int64_t stride, int count, Bfloat16* to) {
  constexpr int kPieces = kSize / 8;  // of 16 bytes
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kPieces; i += kThreads) {
    const int row = i / kPieces, column = i % kPieces * 8;
    begin_copy(to + row * kRow<kSize> + column, from + (row < count ? row * stride : 0) + column, row < count);
  }
}

template <int kCount>
__device__ void clear(float (&x)[kCount][4]) {
  RKIF_UNROLL for (int n = 0; n < kCount; ++n) { RKIF_UNROLL for (int i = 0; i < 4; ++i) x[n][i] = 0; }
}

// products = the warp's 16 rows of `a` times all rows of `b`.
template <int kSize, int kColumns>
__device__ void dot_vectors(const Bfloat16* a, const Bfloat16* b, float (&products)[kColumns][4]) {
  const int matrix = lane() / 8, row = lane() % 8;
  a += (first_row() + matrix % 2 * 8 + row) * kRow<kSize> + matrix / 2 * 8;
  b += (matrix / 2 * 8 + row) * kRow<kSize> + matrix % 2 * 8;
  clear(products);
  RKIF_UNROLL for (int d = 0; d < kSize; d += 16) {
    uint32_t left[4];
    load_matrices(a + d, left);
    RKIF_UNROLL for (int n = 0; n < kColumns; n += 2) {
      uint32_t right[4];
      load_matrices(b + 8 * n * kRow<kSize> + d, right);
      multiply_add(products[n], left, right[0], right[1]);
      multiply_add(products[n + 1], left, right[2], right[3]);
    }
  }
}

// What dot_vectors gave, or was made of it, as the left side of a product.
template <int kColumns>
__device__ void narrowed(const float (&weights)[kColumns][4], uint32_t (&to)[kColumns / 2][4]) {
  RKIF_UNROLL for (int n = 0; n < kColumns; n += 2) {
    to[n / 2][0] = packed(weights[n][0], weights[n][1]);
    to[n / 2][1] = packed(weights[n][2], weights[n][3]);
    to[n / 2][2] = packed(weights[n + 1][0], weights[n + 1][1]);
    to[n / 2][3] = packed(weights[n + 1][2], weights[n + 1][3]);
  }
}

// sums += weights times the rows of `vectors`, 16 for each of weights[.].
template <int kSize, int kSteps>
__device__ void add_weighted(const uint32_t (&weights)[kSteps][4], const Bfloat16* vectors,
                             float (&sums)[kSize / 8][4]) {
  const int matrix = lane() / 8, row = lane() % 8;
  vectors += (matrix % 2 * 8 + row) * kRow<kSize> + matrix / 2 * 8;
  RKIF_UNROLL for (int step = 0; step < kSteps; ++step) {
    RKIF_UNROLL for (int n = 0; n < kSize / 8; n += 2) {
      uint32_t right[4];
      load_transposed(vectors + 16 * step * kRow<kSize> + 8 * n, right);
      multiply_add(sums[n], weights[step], right[0], right[1]);
      multiply_add(sums[n + 1], weights[step], right[2], right[3]);
    }
  }
}

// write(i, row of the tile, element, value, next one's value) for the `size` real elements of the first `count` rows,
// two at a time; `element` is even, and the second is not real where element + 1 == size.
template <int kSize, class Write>
__device__ void each_pair(const float (&sums)[kSize / 8][4], int count, int64_t size, const Write& write) {
  RKIF_UNROLL for (int n = 0; n < kSize / 8; ++n) {
    RKIF_UNROLL for (int i = 0; i < 4; i += 2) {
      const int row = row_of(i), element = column_of(n, 0);
      if (row < count && element < size) write(i, row, element, sums[n][i], sums[n][i + 1]);
    }
  }
}

__device__ inline void store_pair(float* to, float first, float second, bool both) {
  if (both && reinterpret_cast<uintptr_t>(to) % 8 == 0) {
    *reinterpret_cast<float2*>(to) = make_float2(first, second);
  } else {
    to[0] = first;
    if (both) to[1] = second;
  }
}

// run(vector's size in shared memory) for heads of this size, at most 128.
template <class Run>
void for_size(int64_t size, const Run& run) {
  if (size <= 32) return run(std::integral_constant<int, 32>{});
  if (size <= 64) return run(std::integral_constant<int, 64>{});
  if (size <= 80) return run(std::integral_constant<int, 80>{});
  if (size <= 96) return run(std::integral_constant<int, 96>{});
  run(std::integral_constant<int, 128>{});
}

// [count, heads * size] of q, k, v or a gradient, `stride` elements between rows.
struct RowsToPack {
  const float* from = nullptr;
  int64_t count = 0, heads = 0, stride = 0;

  RKIF_HOST_DEVICE int64_t elements(int64_t padded) const { return count * heads * padded; }
};
struct PackedRows {
  static constexpr int kMost = 4;
  RowsToPack of[kMost];
  Bfloat16* to[kMost] = {};
};

// to[i][row, head, :] = the head's `size` elements of that row, rounded, zeros from there to `padded`; in one launch.
void pack_rows(const Context& context, int64_t size, int64_t padded, const PackedRows& rows, int count);

// Rows in bfloat16, every head aligned and as wide as the tiles' vectors: read by many tiles.
class NarrowRows {
 public:
  NarrowRows(const Context& context, int64_t size, int64_t padded, std::initializer_list<RowsToPack> all)
      : values_(context, total(all, padded)) {
    Bfloat16* next = values_.data();
    int count = 0;
    for (const RowsToPack& rows : all) {
      rows_.of[count] = rows;
      rows_.to[count++] = next;
      next += rows.elements(padded);
    }
    pack_rows(context, size, padded, rows_, count);
  }
  const Bfloat16* operator[](int i) const { return rows_.to[i]; }

 private:
  static int64_t total(const std::initializer_list<RowsToPack>& all, int64_t padded) {
    int64_t elements = 0;
    for (const RowsToPack& rows : all) elements += rows.elements(padded);
    return elements;
  }
  Scratch<Bfloat16> values_;
  PackedRows rows_;
};

// The last rows of q and k that the problem's spans reach.
struct RowCounts {
  RowCounts(const AttentionProblem& problem, const HostSpans& spans) {
    for (const AttentionSpan& span : spans) {
      if (!takes(problem.spans_of, span) || span.query_length == 0) continue;
      queries = std::max(queries, span.query_start + span.query_length);
      keys = std::max(keys, span.key_start + span.key_length);
    }
  }
  int64_t queries = 0, keys = 0;
};

}  // namespace rkif::cuda::narrow
