// What the .cu files need of CUDA. nvcc compiles them for GPUs; the C++ test runner compiles the same files with an
// emulation of the grid (test/native/cuda/cuda_emulation.h), so that every kernel runs and is checked without a GPU.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "kernels/cuda/context.h"

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#else
#include "cuda_emulation.h"
#endif

namespace rkif::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

// The block's dynamic shared memory, aligned to 16 bytes.
template <class T>
__device__ inline T* dynamic_shared() {
#if defined(__CUDACC__)
  extern __shared__ __align__(16) unsigned char rkif_dynamic_shared[];
  return reinterpret_cast<T*>(rkif_dynamic_shared);
#else
  return reinterpret_cast<T*>(emulation::dynamic_shared());
#endif
}

#if defined(__CUDACC__)
inline void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + what + ": " + cudaGetErrorString(error));
}
#endif

// kernel<<<grid, block, shared_bytes, stream>>>(arguments...). Throws std::runtime_error where it cannot be launched;
// what goes wrong while it runs shows at a later call.
template <class... Parameters, class... Arguments>
void launch(const Context& context, const char* name, dim3 grid, dim3 block, int64_t shared_bytes,
            void (*kernel)(Parameters...), Arguments... arguments) {
#if defined(__CUDACC__)
  // More than 48 KiB has to be asked for, and what a kernel declares counts too: no harm in asking early.
  if (shared_bytes > 32 * 1024) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)),
          name);
  }
  kernel<<<grid, block, static_cast<size_t>(shared_bytes), static_cast<cudaStream_t>(context.stream)>>>(
      static_cast<Parameters>(arguments)...);
  check(cudaGetLastError(), name);
#else
  emulation::run(name, grid, block, shared_bytes, [=] { kernel(static_cast<Parameters>(arguments)...); });
#endif
}

inline void fill_zero(const Context& context, void* memory, int64_t bytes) {
#if defined(__CUDACC__)
  check(cudaMemsetAsync(memory, 0, static_cast<size_t>(bytes), static_cast<cudaStream_t>(context.stream)), "memset");
#else
  emulation::fill_zero(memory, bytes);
#endif
}

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Blocks for a loop over `count` items with stride (grid_index, grid_size), `per_block` items a block and turn: enough
// to fill the card, no more.
inline unsigned grid_for(const Context& context, int64_t count, int64_t per_block, int blocks_per_multiprocessor = 8) {
  const int64_t needed = divide_up(count, per_block);
  const int64_t most = int64_t{context.multiprocessors} * blocks_per_multiprocessor;
  return static_cast<unsigned>(needed < 1 ? 1 : needed < most ? needed : most);
}

// This thread among all of a one-dimensional grid, and how many there are.
__device__ inline int64_t grid_index() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ inline int64_t grid_size() { return int64_t{gridDim.x} * blockDim.x; }

// Sum over a warp, or over each of its groups of kLanes neighbours, in the same order in every run; all of them get it.
template <int kLanes = kWarp, class T>
__device__ inline T warp_sum(T value) {
  for (int offset = kLanes / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(kAllLanes, value, offset);
  return value;
}

template <int kLanes = kWarp, class T>
__device__ inline T warp_max(T value) {
  for (int offset = kLanes / 2; offset > 0; offset /= 2) {
    const T other = __shfl_xor_sync(kAllLanes, value, offset);
    value = other > value ? other : value;
  }
  return value;
}

// Sum over a block of whole warps, in the same order in every run; all threads get it. `partial`: shared memory of one
// element a warp; free for use again when the call returns.
template <class T>
__device__ inline T block_sum(T value, T* partial) {
  value = warp_sum(value);
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  T sum = partial[0];
  for (int i = 1; i < warps; ++i) sum += partial[i];
  __syncthreads();
  return sum;
}

}  // namespace rkif::cuda
