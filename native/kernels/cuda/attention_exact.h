// Tiles of vectors and of scores for attention in fp32. A block of 16 x 16 threads takes a tile of queries (or of keys,
// for their gradients) and goes over the tiles that it meets; thread (y, x) owns kOwn rows from y * kOwn on, and every
// 16th column (of scores) or pair of columns (of vectors) from x on.
#pragma once
#include "kernels/cuda/attention_parts.h"

namespace rkif::cuda::exact {

inline constexpr int kThreads = 256;

// kSize: elements of a vector in shared memory, the last ones zero where a head is smaller.
template <int kSize_, int kTile_>
struct Tiling {
  static constexpr int kSize = kSize_, kTile = kTile_;
  static constexpr int kOwn = kTile / 16;          // rows, or columns of scores, of a thread
  static constexpr int kOwnElements = kSize / 16;  // of each of its vectors
  // Rows are padded by 16 bytes, so that neighbouring rows lie in different banks.
  static constexpr int kRow = kSize + 4, kScoreRow = kTile + 4;
  static constexpr int kVectors = kTile * kRow, kScores = kTile * kScoreRow;
};

__device__ inline int thread_x() { return static_cast<int>(threadIdx.x) % 16; }
__device__ inline int thread_y() { return static_cast<int>(threadIdx.x) / 16; }

// row(i): the i-th vector, of `size` elements; zeros from `count` on.
template <class T, class Row>
__device__ void load_vectors(int count, int64_t size, const Row& row, float* to) {
  for (int i = static_cast<int>(threadIdx.x); i < T::kTile * T::kSize / 4; i += kThreads) {
    const int r = i / (T::kSize / 4), c = i % (T::kSize / 4) * 4;
    float4 x = make_float4(0, 0, 0, 0);
    if (r < count && c < size) {
      const float* from = row(r) + c;
      if (c + 4 <= size && reinterpret_cast<uintptr_t>(from) % 16 == 0) {
        x = *reinterpret_cast<const float4*>(from);
      } else {
        x.x = from[0];
        if (c + 1 < size) x.y = from[1];
        if (c + 2 < size) x.z = from[2];
        if (c + 3 < size) x.w = from[3];
      }
    }
    *reinterpret_cast<float4*>(to + r * T::kRow + c) = x;
  }
}

// products[r][c] = a[own row r] . b[own column c]
template <class T>
__device__ void dot_vectors(const float* a, const float* b, float (&products)[T::kOwn][T::kOwn]) {
  a += thread_y() * T::kOwn * T::kRow;
  b += thread_x() * T::kRow;
  RKIF_UNROLL for (int r = 0; r < T::kOwn; ++r) { RKIF_UNROLL for (int c = 0; c < T::kOwn; ++c) products[r][c] = 0; }
  RKIF_UNROLL_BY(2) for (int d = 0; d < T::kSize; d += 4) {
    float4 x[T::kOwn], y[T::kOwn];
    RKIF_UNROLL for (int r = 0; r < T::kOwn; ++r) x[r] = *reinterpret_cast<const float4*>(a + r * T::kRow + d);
    RKIF_UNROLL for (int c = 0; c < T::kOwn; ++c) y[c] = *reinterpret_cast<const float4*>(b + 16 * c * T::kRow + d);
    RKIF_UNROLL for (int r = 0; r < T::kOwn; ++r) {
      RKIF_UNROLL for (int c = 0; c < T::kOwn; ++c) {
        float sum = products[r][c];
        sum += x[r].x * y[c].x;
        sum += x[r].y * y[c].y;
        sum += x[r].z * y[c].z;
        sum += x[r].w * y[c].w;
        products[r][c] = sum;
      }
    }
  }
}

// sums[r] += sum over j of weights[own row r][j] * vectors[j]
template <class T>
__device__ void add_weighted(const float* weights, const float* vectors, float (&sums)[T::kOwn][T::kOwnElements]) {
  weights += thread_y() * T::kOwn * T::kScoreRow;
  vectors += 2 * thread_x();
  RKIF_UNROLL_BY(2) for (int j = 0; j < T::kTile; j += 2) {
    float2 w[T::kOwn];
    RKIF_UNROLL for (int r = 0; r < T::kOwn; ++r) {
      w[r] = *reinterpret_cast<const float2*>(weights + r * T::kScoreRow + j);
    }
    RKIF_UNROLL for (int c = 0; c < T::kOwnElements; c += 2) {
      const float2 first = *reinterpret_cast<const float2*>(vectors + j * T::kRow + 16 * c);
      const float2 second = *reinterpret_cast<const float2*>(vectors + (j + 1) * T::kRow + 16 * c);
      RKIF_UNROLL for (int r = 0; r < T::kOwn; ++r) {
        sums[r][c] += w[r].x * first.x;
        sums[r][c + 1] += w[r].x * first.y;
        sums[r][c] += w[r].y * second.x;
        sums[r][c + 1] += w[r].y * second.y;
      }
    }
  }
}

template <class T>
__device__ void store_scores(const float (&scores)[T::kOwn][T::kOwn], float* to) {
  to += thread_y() * T::kOwn * T::kScoreRow + thread_x();
  RKIF_UNROLL for (int r = 0; r < T::kOwn; ++r) {
    RKIF_UNROLL for (int c = 0; c < T::kOwn; ++c) to[r * T::kScoreRow + 16 * c] = scores[r][c];
  }
}

template <class T>
__device__ void clear(float (&sums)[T::kOwn][T::kOwnElements]) {
  RKIF_UNROLL for (int r = 0; r < T::kOwn; ++r) {
    RKIF_UNROLL for (int c = 0; c < T::kOwnElements; ++c) sums[r][c] = 0;
  }
}

// write(own row, element, value) for the `size` real elements of the first `count` rows of a tile.
template <class T, class Write>
__device__ void each_sum(const float (&sums)[T::kOwn][T::kOwnElements], int count, int64_t size, const Write& write) {
  RKIF_UNROLL for (int r = 0; r < T::kOwn; ++r) {
    RKIF_UNROLL for (int c = 0; c < T::kOwnElements; ++c) {
      const int row = thread_y() * T::kOwn + r, element = c / 2 * 32 + 2 * thread_x() + c % 2;
      if (row < count && element < size) write(r, row, element, sums[r][c]);
    }
  }
}

}  // namespace rkif::cuda::exact
