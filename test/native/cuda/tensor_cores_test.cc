// Fragments of tensor cores, as the kernels load and multiply them, against products from the definition.
#include "kernels/cuda/tensor_cores.h"

#include "cuda_test.h"

using namespace rkif;
using namespace rkif::test;

namespace {

constexpr int kRow = 24;  // elements between rows in shared memory

// One warp: c = a b, a 16 x 16 and b 16 x 16 (or its transpose, rows and columns exchanged) row by row.
__global__ void multiply(const Bfloat16* a, const Bfloat16* b, bool transposed, float* c) {
  Bfloat16* const left = cuda::dynamic_shared<Bfloat16>();
  Bfloat16* const right = left + 16 * kRow;
  const int lane = static_cast<int>(threadIdx.x), piece = lane % 2 * 8;
  cuda::begin_copy(left + lane / 2 * kRow + piece, a + lane / 2 * 16 + piece, true);
  cuda::begin_copy(right + lane / 2 * kRow + piece, b + lane / 2 * 16 + piece, true);
  cuda::wait_for_copies();
  __syncwarp();
  const int matrix = lane / 8, row = lane % 8;
  const int down = (matrix % 2 * 8 + row) * kRow + matrix / 2 * 8,
            across = (matrix / 2 * 8 + row) * kRow + matrix % 2 * 8;
  uint32_t x[4], y[4];
  cuda::load_matrices(left + down, x);
  if (transposed) {
    cuda::load_matrices(right + across, y);
  } else {
    cuda::load_transposed(right + down, y);
  }
  for (int n = 0; n < 2; ++n) {
    float sums[4] = {1, 1, 1, 1};
    cuda::multiply_add(sums, x, y[2 * n], y[2 * n + 1]);
    for (int i = 0; i < 4; ++i) c[(lane / 4 + i / 2 * 8) * 16 + 8 * n + lane % 4 * 2 + i % 2] = sums[i];
  }
}

__global__ void copy(const Bfloat16* from, bool something, bool wait, Bfloat16* to) {
  Bfloat16* const shared = cuda::dynamic_shared<Bfloat16>();
  cuda::begin_copy(shared, from, something);
  if (wait) cuda::wait_for_copies();
  for (int i = 0; i < 8; ++i) to[i] = shared[i];
  cuda::wait_for_copies();
}

}  // namespace

TEST("cuda tensor cores: products of fragments, right sides by rows and by columns") {
  const cuda::Context context = cuda_context();
  const std::vector<float> x = normal(256, 1), y = normal(256, 2);
  alignas(16) Bfloat16 a[256], b[256];
  for (int i = 0; i < 256; ++i) {
    store(x[i], a[i]);
    store(y[i], b[i]);
  }
  in_thread_orders([&] {
    for (bool transposed : {false, true}) {
      std::vector<float> c(256, kNaN);
      cuda::launch(context, "multiply", 1, 32, 2 * 16 * kRow * sizeof(Bfloat16), multiply, a, b, transposed, c.data());
      for (int i = 0; i < 16; ++i) {
        for (int j = 0; j < 16; ++j) {
          double sum = 1;
          for (int k = 0; k < 16; ++k) {
            sum += double{widened(a[16 * i + k])} * widened(transposed ? b[16 * j + k] : b[16 * k + j]);
          }
          CHECK_NEAR(c[16 * i + j], sum, 1e-5);
        }
      }
    }
  });
}

TEST("cuda tensor cores: what is copied is there once it is waited for, and not before") {
  const cuda::Context context = cuda_context();
  alignas(16) Bfloat16 from[8], to[8];
  for (uint16_t i = 0; i < 8; ++i) from[i].bits = i;
  const auto run = [&](bool something, bool wait) {
    cuda::launch(context, "copy", 1, 1, 16, copy, from, something, wait, to);
    return to[5].bits;
  };
  CHECK_EQUAL(run(true, true), 5);
  CHECK_EQUAL(run(false, true), 0);
  CHECK_EQUAL(run(true, false), 0xffff);
}

TEST("cuda tensor cores: numbers are rounded to the nearest, ties to even, the first in the low half") {
  CHECK_EQUAL(cuda::packed(1.0f, -2.0f), 0xc0003f80u);
  CHECK_EQUAL(cuda::packed(1.00390625f, 1.01171875f), 0x3f823f80u);
}
