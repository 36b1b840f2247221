#include "kernels/cuda/add_rows.h"
#include "kernels/cuda/grid.h"
#include "kernels/cuda/unroll.h"

namespace rkif::cuda {
namespace {

constexpr int kThreads = 256;

// What a block has found among kThreads ids.
struct Found {
  int places[kThreads];
  int of_warp[kThreads / kWarp];
};

// The places of `id` among the ids from `begin` on, before `end`, in their order; returns how many there are. All
// threads of the block take part.
__device__ inline int find(const int32_t* ids, int64_t begin, int64_t end, int32_t id, Found& found) {
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp;
  const bool here = begin + thread < end && ids[begin + thread] == id;
  const unsigned of_lanes = __ballot_sync(kAllLanes, here);
  if (thread % kWarp == 0) found.of_warp[warp] = __popc(of_lanes);
  __syncthreads();
  int before = 0, all = 0;
  for (int i = 0; i < kThreads / kWarp; ++i) {
    if (i < warp) before += found.of_warp[i];
    all += found.of_warp[i];
  }
  if (here) found.places[before + __popc(of_lanes & ((1u << (thread % kWarp)) - 1))] = thread;
  __syncthreads();
  return all;
}

// Sums with atomic operations would be in another order at every run. Here one block adds all rows of an id, in their
// order: the block of the first of them, which looks for the others. To look through all ids for each is cheap beside
// the products of the same batch: 65,536 tokens take four thousand million comparisons, out of the cache.
__global__ void __launch_bounds__(kThreads)
    add_rows_of_ids(int64_t count, int64_t columns, const int32_t* ids, const float* rows, float* into) {
  __shared__ Found found;
  for (int64_t i = blockIdx.x; i < count; i += gridDim.x) {
    const int32_t id = ids[i];
    bool first = true;
    for (int64_t begin = 0; first && begin < i; begin += kThreads) first = find(ids, begin, i, id, found) == 0;
    if (!first) continue;
    float* to = into + id * columns;
    for (int64_t begin = i; begin < count; begin += kThreads) {
      const int n = find(ids, begin, count, id, found);
      for (int64_t j = threadIdx.x; n > 0 && j < columns; j += kThreads) {
        float sum = to[j];
        RKIF_UNROLL_BY(8)
        for (int k = 0; k < n; ++k) sum += rows[(begin + found.places[k]) * columns + j];
        to[j] = sum;
      }
    }
  }
}

}  // namespace

void add_rows(const Context& context, int64_t count, int64_t columns, const int32_t* ids, const float* rows,
              float* into) {
  if (count == 0 || columns == 0) return;
  launch(context, "add_rows", grid_for(context, count, 1), kThreads, 0, add_rows_of_ids, count, columns, ids, rows,
         into);
}

}  // namespace rkif::cuda
