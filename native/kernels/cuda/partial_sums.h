// The second half of sums over many rows: blocks have left partial sums, which are added up in their order.
#pragma once
#include <cstdint>

#include "kernels/cuda/grid.h"
#include "kernels/cuda/unroll.h"

namespace rkif::cuda {

// `count` partial sums of a [rows, columns] matrix, one after another.
struct PartialSums {
  int64_t count;
  int64_t rows;
  int64_t columns;
  const float* partials;
  float factor = 1;
  bool transposed = false;  // `into` is [columns, rows]
  bool adds = true;         // or replaces what `into` holds
};

inline constexpr int kPartialSumWarps = 8;

// A warp takes 32 elements; the warps of a block share out the partial sums, each a run of them.
template <bool kTransposed>
__global__ void __launch_bounds__(kWarp* kPartialSumWarps) add_partial_sums(PartialSums sums, float* into) {
  __shared__ float of_warp[kPartialSumWarps][kWarp];
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t size = sums.rows * sums.columns, share = (sums.count + kPartialSumWarps - 1) / kPartialSumWarps;
  for (int64_t first = int64_t{blockIdx.x} * kWarp; first < size; first += int64_t{gridDim.x} * kWarp) {
    const int64_t i = first + lane;
    float sum = 0;
    if (i < size) {
      const int64_t end = (warp + 1) * share < sums.count ? (warp + 1) * share : sums.count;
      RKIF_UNROLL_BY(4)
      for (int64_t part = warp * share; part < end; ++part) sum += sums.partials[part * size + i];
    }
    of_warp[warp][lane] = sum;
    __syncthreads();
    if (warp == 0 && i < size) {
      for (int other = 1; other < kPartialSumWarps; ++other) sum += of_warp[other][lane];
      float* to = into + (kTransposed ? i % sums.columns * sums.rows + i / sums.columns : i);
      *to = sums.factor * sum + (sums.adds ? *to : 0.0f);
    }
    __syncthreads();
  }
}

inline void launch_partial_sums(const Context& context, const PartialSums& sums, float* into) {
  const unsigned grid = grid_for(context, sums.rows * sums.columns, kWarp);
  launch(context, "add_partial_sums", grid, kWarp * kPartialSumWarps, 0,
         sums.transposed ? add_partial_sums<true> : add_partial_sums<false>, sums, into);
}

// How rows are shared out among blocks that each leave a partial sum: as many blocks as the card has places for, where
// there is work for all.
struct RowBlocks {
  int64_t count;
  int64_t rows;  // of a block

  // A block beside `beside` others over the same rows, `resident` of them at a time on a multiprocessor; its rows a
  // multiple of `step`.
  RowBlocks(const Context& context, int64_t all_rows, int64_t beside, int resident, int64_t step) {
    const int64_t places = int64_t{context.multiprocessors} * resident / beside;
    const int64_t least = divide_up(all_rows, places < 1 ? 1 : places);
    rows = divide_up(least, step) * step;
    count = divide_up(all_rows, rows);
  }
};

}  // namespace rkif::cuda
