// The two ways in which the low-rank path reads a wide matrix, each once: row by row, a lane with four columns of it
// and with what belongs to these columns of the thin matrices, in registers.
#pragma once
#include <cstdint>

#include "kernels/cuda/masked_elements.h"
#include "kernels/cuda/row_share.h"

namespace rkif::cuda {

inline constexpr int kLowRankWarps = 4;  // of a block at most, side by side
inline constexpr int kLaneColumns = 4;
inline constexpr int kWarpColumns = kWarp * kLaneColumns;
inline constexpr int kRowsAtOnce = 4;  // their loads are under way together
inline constexpr int kRowsOfStep = 32;

// scale * the thin matrix that faces the wide one's columns: element (rank, column).
struct ThinMatrix {
  const float* values;
  int64_t of_rank;    // distance between ranks
  int64_t of_column;  // and between columns
  float scale;

  template <class Share, int kRanks>
  __device__ void load(int64_t first_rank, int64_t r, int64_t first, int64_t columns, int lane,
                       float (&to)[kRanks][kLaneColumns]) const {
    RKIF_UNROLL
    for (int rank = 0; rank < kRanks; ++rank) {
      RKIF_UNROLL
      for (int e = 0; e < kLaneColumns; ++e) {
        const int64_t column = first + Share::column(lane, e);
        const bool exists = first_rank + rank < r && column < columns;
        to[rank][e] = exists ? scale * values[(first_rank + rank) * of_rank + column * of_column] : 0.0f;
      }
    }
  }
};

// Rows [begin, end) of kRanks columns of `thin` [rows, r] into shared memory, zero where there are none.
template <int kRanks>
__device__ inline void stage_thin_rows(const float* thin, int64_t r, int64_t first_rank, int64_t begin, int64_t end,
                                       float (&to)[kRowsOfStep][kRanks]) {
  for (int i = static_cast<int>(threadIdx.x); i < kRowsOfStep * kRanks; i += static_cast<int>(blockDim.x)) {
    const int64_t row = begin + i / kRanks, rank = first_rank + i % kRanks;
    to[i / kRanks][i % kRanks] = row < end && rank < r ? thin[row * r + rank] : 0.0f;
  }
}

// Sums kValues values of every lane over the warp: halves of the values go to halves of the lanes, so that few are
// exchanged. Lane l gets the sum of value l / (32 / kValues).
template <int kValues>
__device__ inline float spread_sums(float (&values)[kValues], int lane) {
  static_assert(kValues <= kWarp);
  int offset = kWarp / 2;
  RKIF_UNROLL
  for (int half = kValues / 2; half > 0; half /= 2, offset /= 2) {
    const bool upper = (lane & offset) != 0;
    RKIF_UNROLL
    for (int i = 0; i < kValues / 2; ++i) {
      if (i >= half) break;
      const float sent = upper ? values[i] : values[i + half], kept = upper ? values[i + half] : values[i];
      values[i] = kept + __shfl_xor_sync(kAllLanes, sent, offset);
    }
  }
  float sum = values[0];
  for (; offset > 0; offset /= 2) sum += __shfl_xor_sync(kAllLanes, sum, offset);
  return sum;
}

// A pass over the wide matrix `wide` [rows, columns], with dropout. Blocks: (row block, chunk of ranks) in x, columns
// in y.
struct ThinProducts {
  int64_t rows;
  int64_t columns;
  int64_t r;
  int64_t rows_of_block;
  int64_t rank_chunks;
  Masks masks;
  const float* wide;
  ThinMatrix right;      // projected: wide * right^T,
  float* projected;      // [blocks of columns, rows, r], to be summed over the first
  const float* left;     // summed: left^T * wide, left [rows, r],
  float* sums_of_block;  // [row blocks, r, columns], to be summed over the first
};

template <int kWidth, int kRanks, bool kProjects, bool kSums>
__global__ void __launch_bounds__(kWarp* kLowRankWarps, kRanks > 8 ? 2 : 3) thin_products(ThinProducts p) {
  using Share = RowShare<kWarp, kWidth, kLaneColumns / kWidth>;
  constexpr int kPair = 2 * kRanks;
  __shared__ __align__(16) float thin[kRowsOfStep][kRanks];
  __shared__ float of_warp[kRowsOfStep][kLowRankWarps][kRanks];
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  const int64_t row_block = blockIdx.x / p.rank_chunks, first_rank = blockIdx.x % p.rank_chunks * kRanks;
  const int64_t begin = row_block * p.rows_of_block;
  const int64_t end = begin + p.rows_of_block < p.rows ? begin + p.rows_of_block : p.rows;
  const int64_t first = (int64_t{blockIdx.y} * warps + warp) * kWarpColumns, left_columns = p.columns - first;

  float right[kRanks][kLaneColumns];
  float sums[kRanks][kLaneColumns];
  if constexpr (kProjects) p.right.template load<Share>(first_rank, p.r, first, p.columns, lane, right);
  if constexpr (kSums) {
    RKIF_UNROLL
    for (int rank = 0; rank < kRanks; ++rank) {
      RKIF_UNROLL
      for (int e = 0; e < kLaneColumns; ++e) sums[rank][e] = 0;
    }
  }

  Share rows[kRowsAtOnce], next[kRowsAtOnce];
  // Lane i makes and holds that of row i.
  static_assert(kRowsAtOnce <= kWarp);
  DropoutRow key{}, next_key{};
  const auto load = [&](int64_t at) {
    RKIF_UNROLL
    for (int i = 0; i < kRowsAtOnce; ++i) {
      next[i].load(p.wide + (at + i) * p.columns + first, at + i < end ? left_columns : 0, lane);
    }
    if (p.masks.drops() && lane < kRowsAtOnce && at + lane < end) next_key = p.masks.keys[at + lane];
  };
  load(begin);
  for (int64_t step = begin; step < end; step += kRowsOfStep) {
    const int64_t stop = step + kRowsOfStep < end ? step + kRowsOfStep : end;
    if constexpr (kSums) {
      stage_thin_rows(p.left, p.r, first_rank, step, stop, thin);
      __syncthreads();
    }
    for (int64_t at = step; at < stop; at += kRowsAtOnce) {
      const int in_step = static_cast<int>(at - step);
      RKIF_UNROLL
      for (int i = 0; i < kRowsAtOnce; ++i) rows[i] = next[i];
      key = next_key;
      load(at + kRowsAtOnce);
      if (p.masks.drops()) {
        RKIF_UNROLL
        for (int i = 0; i < kRowsAtOnce; ++i) {
          const RowMask mask = p.masks.dealt(key, i);
          RKIF_UNROLL
          for (int e = 0; e < kLaneColumns; ++e) {
            rows[i].at[e] = mask.applied(rows[i].at[e], first + Share::column(lane, e));
          }
        }
      }
      if constexpr (kProjects) {
        RKIF_UNROLL
        for (int pair = 0; pair < kRowsAtOnce; pair += 2) {
          float values[kPair];
          RKIF_UNROLL
          for (int i = 0; i < kPair; ++i) {
            const Share& row = rows[pair + i / kRanks];
            float value = row.at[0] * right[i % kRanks][0];
            RKIF_UNROLL
            for (int e = 1; e < kLaneColumns; ++e) value += row.at[e] * right[i % kRanks][e];
            values[i] = value;
          }
          const float sum = spread_sums(values, lane);
          constexpr int kLanesOfValue = kWarp / kPair;
          const int value = lane / kLanesOfValue;
          if (lane % kLanesOfValue == 0) of_warp[in_step + pair + value / kRanks][warp][value % kRanks] = sum;
        }
      }
      if constexpr (kSums) {
        RKIF_UNROLL
        for (int i = 0; i < kRowsAtOnce; ++i) {
          RKIF_UNROLL
          for (int rank = 0; rank < kRanks; ++rank) {
            const float factor = thin[in_step + i][rank];
            RKIF_UNROLL
            for (int e = 0; e < kLaneColumns; ++e) sums[rank][e] += factor * rows[i].at[e];
          }
        }
      }
    }
    __syncthreads();
    if constexpr (kProjects) {
      const int count = static_cast<int>(stop - step) * kRanks;
      for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) {
        const int64_t row = step + i / kRanks, rank = first_rank + i % kRanks;
        float sum = of_warp[i / kRanks][0][i % kRanks];
        for (int other = 1; other < warps; ++other) sum += of_warp[i / kRanks][other][i % kRanks];
        if (rank < p.r) p.projected[(blockIdx.y * p.rows + row) * p.r + rank] = sum;
      }
      __syncthreads();
    }
  }
  if constexpr (kSums) {
    RKIF_UNROLL
    for (int rank = 0; rank < kRanks; ++rank) {
      if (first_rank + rank >= p.r) break;
      Share out;
      RKIF_UNROLL
      for (int e = 0; e < kLaneColumns; ++e) out.at[e] = sums[rank][e];
      out.store(p.sums_of_block + (row_block * p.r + first_rank + rank) * p.columns + first, left_columns, lane);
    }
  }
}

// into [rows, columns] += dropout(left * right), left [rows, r]. Blocks: row blocks in x, columns in y.
struct ThinExpansion {
  int64_t rows;
  int64_t columns;
  int64_t r;
  int64_t rows_of_block;
  Masks masks;
  const float* left;
  ThinMatrix right;
  float* into;
};

template <int kWidth, int kRanks>
__global__ void __launch_bounds__(kWarp* kLowRankWarps, kRanks > 8 ? 3 : 4) add_thin_expansion(ThinExpansion p) {
  using Share = RowShare<kWarp, kWidth, kLaneColumns / kWidth>;
  __shared__ __align__(16) float thin[kRowsOfStep][kRanks];
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  const int64_t begin = blockIdx.x * p.rows_of_block;
  const int64_t end = begin + p.rows_of_block < p.rows ? begin + p.rows_of_block : p.rows;
  const int64_t first = (int64_t{blockIdx.y} * warps + warp) * kWarpColumns, left_columns = p.columns - first;

  // A lane adds to its own elements alone, so that the next ranks may follow at once.
  for (int64_t first_rank = 0; first_rank < p.r; first_rank += kRanks) {
    float right[kRanks][kLaneColumns];
    p.right.template load<Share>(first_rank, p.r, first, p.columns, lane, right);
    for (int64_t step = begin; step < end; step += kRowsOfStep) {
      const int64_t stop = step + kRowsOfStep < end ? step + kRowsOfStep : end;
      stage_thin_rows(p.left, p.r, first_rank, step, stop, thin);
      __syncthreads();
      for (int64_t at = step; at < stop; at += kRowsAtOnce) {
        Share rows[kRowsAtOnce];
        RKIF_UNROLL
        for (int i = 0; i < kRowsAtOnce; ++i) {
          rows[i].load(p.into + (at + i) * p.columns + first, at + i < stop ? left_columns : 0, lane);
        }
        DropoutRow key{};
        if (p.masks.drops() && lane < kRowsAtOnce && at + lane < stop) key = p.masks.keys[at + lane];
        RKIF_UNROLL
        for (int i = 0; i < kRowsAtOnce; ++i) {
          float added[kLaneColumns]{};
          RKIF_UNROLL
          for (int rank = 0; rank < kRanks; ++rank) {
            const float factor = thin[at - step + i][rank];
            RKIF_UNROLL
            for (int e = 0; e < kLaneColumns; ++e) added[e] += factor * right[rank][e];
          }
          if (p.masks.drops()) {
            const RowMask mask = p.masks.dealt(key, i);
            RKIF_UNROLL
            for (int e = 0; e < kLaneColumns; ++e) {
              added[e] = mask.applied(added[e], first + Share::column(lane, e));
            }
          }
          RKIF_UNROLL
          for (int e = 0; e < kLaneColumns; ++e) rows[i].at[e] += added[e];
          rows[i].store(p.into + (at + i) * p.columns + first, at + i < stop ? left_columns : 0, lane);
        }
      }
      __syncthreads();
    }
  }
}

}  // namespace rkif::cuda
