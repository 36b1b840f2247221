// The emulation of CUDA's grid that the tests of the .cu files run on.
#include <vector>

#include "cuda_test.h"
#include "kernels/cuda/grid.h"

using namespace rkif;
using namespace rkif::test;

namespace {

__global__ void sums(int64_t n, const float* x, float* out) {
  __shared__ float partial[8];
  float sum = 0;
  for (int64_t i = cuda::grid_index(); i < n; i += cuda::grid_size()) sum += x[i];
  sum = cuda::block_sum(sum, partial);
  if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

__global__ void reversed(int n, const int* x, int* out, bool barrier) {
  int* shared = cuda::dynamic_shared<int>();
  shared[threadIdx.x] = x[threadIdx.x];
  if (barrier) __syncthreads();
  out[threadIdx.x] = shared[n - 1 - static_cast<int>(threadIdx.x)];
}

__global__ void half_a_barrier() {
  if (threadIdx.x < 16) __syncthreads();
}

__global__ void warp_operations(int* out) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int* mine = out + 4 * threadIdx.x;
  // Halves of a warp go different ways.
  if (lane < 16) {
    mine[0] = __shfl_xor_sync(0x0000ffffu, lane, 1);
    mine[0] += __shfl_sync(0x0000ffffu, lane, 3);
  } else {
    mine[0] = __shfl_down_sync(0xffff0000u, lane, 1);
  }
  __syncwarp();
  mine[1] = static_cast<int>(__ballot_sync(cuda::kAllLanes, lane % 3 == 0));
  mine[2] = __shfl_up_sync(cuda::kAllLanes, lane, 2);
  mine[3] = cuda::warp_max(lane * 7 % 32);
}

}  // namespace

TEST("cuda emulation: blocks, shared memory and sums over a block") {
  const cuda::Context context = cuda_context();
  const std::vector<float> x(1000, 1.0f);
  in_thread_orders([&] {
    std::vector<float> out(3, kNaN);
    cuda::launch(context, "sums", 3, 256, 0, sums, int64_t{1000}, x.data(), out.data());
    CHECK_EQUAL(out[0], 256.0f + 232.0f);
    CHECK_EQUAL(out[1], 256.0f);
    CHECK_EQUAL(out[2], 256.0f);
  });
}

TEST("cuda emulation: a missing barrier shows in one of the orders") {
  const cuda::Context context = cuda_context();
  std::vector<int> x(64), expected(64);
  for (int i = 0; i < 64; ++i) expected[63 - i] = x[i] = i;
  int wrong = 0;
  in_thread_orders([&] {
    std::vector<int> out(64);
    cuda::launch(context, "reversed", 1, 64, 256, reversed, 64, x.data(), out.data(), true);
    CHECK(out == expected);
    cuda::launch(context, "reversed", 1, 64, 256, reversed, 64, x.data(), out.data(), false);
    wrong += out != expected;
  });
  CHECK_EQUAL(wrong, 3);
}

TEST("cuda emulation: warp operations, also of halves that go different ways") {
  const cuda::Context context = cuda_context();
  in_thread_orders([&] {
    std::vector<int> out(4 * 64);
    cuda::launch(context, "warp_operations", 1, 64, 0, warp_operations, out.data());
    for (int thread = 0; thread < 64; ++thread) {
      const int lane = thread % 32, *found = out.data() + 4 * thread;
      CHECK_EQUAL(found[0], lane < 16 ? (lane ^ 1) + 3 : lane < 31 ? lane + 1 : 31);
      CHECK_EQUAL(static_cast<unsigned>(found[1]), 0x49249249u);
      CHECK_EQUAL(found[2], lane < 2 ? lane : lane - 2);
      CHECK_EQUAL(found[3], 31);
    }
  });
}

TEST("cuda emulation: threads that wait for ever, and grids that no GPU takes, throw") {
  const cuda::Context context = cuda_context();
  CHECK_THROWS(cuda::launch(context, "half_a_barrier", 1, 32, 0, half_a_barrier), std::runtime_error,
               "kernel half_a_barrier: threads of block 0 wait");
  CHECK_THROWS(cuda::launch(context, "half_a_barrier", 1, 2048, 0, half_a_barrier), std::runtime_error, "no GPU takes");
}
