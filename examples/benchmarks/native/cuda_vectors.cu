#include <cuda_runtime.h>

#include "cuda_device.h"
#include "cuda_vectors.h"
#include "kernels/dropout.h"

namespace rkif::benchmark {
namespace {

constexpr unsigned kBlock = 256;
constexpr unsigned kBlocks = 4096;

__device__ float uniform(uint64_t seed, uint64_t draw, int64_t i) {
  const uint64_t bits = mix64(mix64(seed * 8 + draw) ^ static_cast<uint64_t>(i));
  return static_cast<float>(bits >> 40) * 0x1p-24f - 0.5f;
}

__global__ void fill_kernel(int64_t n, Values kind, float size, uint64_t seed, float* values) {
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += stride) {
    const float normal = uniform(seed, 0, i) + uniform(seed, 1, i) + uniform(seed, 2, i);
    if (kind == Values::kNormal) values[i] = size * normal;
    if (kind == Values::kScores) {
      values[i] = size * fabsf(normal * uniform(seed, 3, i) * uniform(seed, 4, i) * uniform(seed, 5, i));
    }
    if (kind == Values::kTies) values[i] = size * rintf(8 * normal);
  }
}

__global__ void count_kernel(int64_t n, const float* values, double at, unsigned long long* counts) {
  unsigned long long below = 0, not_above = 0;
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += stride) {
    below += values[i] < at;
    not_above += values[i] <= at;
  }
  atomicAdd(counts, below);
  atomicAdd(counts + 1, not_above);
}

}  // namespace

void fill(int64_t n, Values kind, float size, uint64_t seed, float* values) {
  fill_kernel<<<kBlocks, kBlock>>>(n, kind, size, seed, values);
  check(cudaGetLastError(), "fill");
}

Counts count(int64_t n, const float* values, double at) {
  const Buffer<unsigned long long> counts(std::vector<unsigned long long>(2, 0));
  count_kernel<<<kBlocks, kBlock>>>(n, values, at, counts.data());
  check(cudaGetLastError(), "count");
  const std::vector<unsigned long long> found = counts.read();
  return {static_cast<int64_t>(found[0]), static_cast<int64_t>(found[1])};
}

}  // namespace rkif::benchmark
