// Block-wide steps of the kernels that count.
#pragma once
#include "kernels/cuda/grid.h"

namespace rkif::cuda {

using Count = unsigned long long;  // what atomicAdd takes

// What other blocks have written in this launch.
template <class T>
__device__ inline T read_shared_by_blocks(const T* at) {
  return *static_cast<const volatile T*>(at);
}

// Sum of the values of lower threads of the block; `partial`: shared memory of one element a warp, free for use again
// when the call returns.
template <class T>
__device__ inline T block_exclusive_sum(T value, T* partial) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  T sum = value;
  for (int offset = 1; offset < kWarp; offset *= 2) {
    const T lower = __shfl_up_sync(kAllLanes, sum, offset);
    if (lane >= offset) sum += lower;
  }
  if (lane == kWarp - 1) partial[warp] = sum;
  __syncthreads();
  T before = sum - value;
  for (int i = 0; i < warp; ++i) before += partial[i];
  __syncthreads();
  return before;
}

// This thread's number among the block's threads that are `counted`, from `first` on, which moves on by all of them.
// `partial`: shared memory of one int a warp, free for use again when the call returns.
__device__ inline int64_t block_index(bool counted, int64_t& first, int* partial) {
  const unsigned here = __ballot_sync(kAllLanes, counted);
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  if (lane == 0) partial[warp] = __popc(here);
  __syncthreads();
  int64_t index = first + __popc(here & ((1u << lane) - 1));
  for (int w = 0; w < warps; ++w) {
    if (w < warp) index += partial[w];
    first += partial[w];
  }
  __syncthreads();
  return index;
}

// Whether this block is the last of `blocks` to arrive: then it sees what the others have written. `arrived`: 0 at
// first.
__device__ inline bool last_to_arrive(unsigned* arrived, unsigned blocks) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) last = atomicAdd(arrived, 1u) == blocks - 1;
  __syncthreads();
  if (last) __threadfence();
  return last;
}

}  // namespace rkif::cuda
