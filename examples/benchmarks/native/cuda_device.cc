#include "cuda_device.h"

#include <algorithm>
#include <cmath>

#include "kernels/cuda/cuda_kernels.h"

namespace rkif::benchmark {
namespace {

cuda::Context context;

float elapsed(int64_t times, const std::function<void()>& run) {
  cudaEvent_t begin, end;
  check(cudaEventCreate(&begin), "cudaEventCreate");
  check(cudaEventCreate(&end), "cudaEventCreate");
  check(cudaEventRecord(begin, nullptr), "cudaEventRecord");
  for (int64_t i = 0; i < times; ++i) run();
  check(cudaEventRecord(end, nullptr), "cudaEventRecord");
  check(cudaEventSynchronize(end), "cudaEventSynchronize");
  float found = 0;
  check(cudaEventElapsedTime(&found, begin, end), "cudaEventElapsedTime");
  check(cudaEventDestroy(begin), "cudaEventDestroy");
  check(cudaEventDestroy(end), "cudaEventDestroy");
  return found;
}

}  // namespace

Device open_device() {
  int count = 0;
  check(cudaGetDeviceCount(&count), "no GPU");
  if (count == 0) throw std::runtime_error("no GPU");
  check(cudaSetDevice(0), "cudaSetDevice");
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
  // Scratch memory that is released stays for the next call, as with libtorch's allocator.
  cudaMemPool_t pool;
  check(cudaDeviceGetDefaultMemPool(&pool, 0), "cudaDeviceGetDefaultMemPool");
  uint64_t all = UINT64_MAX;
  check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &all), "cudaMemPoolSetAttribute");
  context.multiprocessors = properties.multiProcessorCount;
  context.allocate = [](int64_t bytes, void* stream) {
    void* memory = nullptr;
    const auto size = static_cast<size_t>(std::max<int64_t>(bytes, 1));
    check(cudaMallocAsync(&memory, size, static_cast<cudaStream_t>(stream)), "cudaMallocAsync");
    return memory;
  };
  context.release = [](void* memory, void* stream) { cudaFreeAsync(memory, static_cast<cudaStream_t>(stream)); };
  return {
      .name = properties.name,
      .multiprocessors = properties.multiProcessorCount,
      .memory = static_cast<int64_t>(properties.totalGlobalMem),
      .kernels = cuda::cuda_kernels([] { return context; }),
  };
}

double milliseconds(const std::function<void()>& run) {
  constexpr double kLongEnough = 3;
  const double first = std::max(1e-3, static_cast<double>(elapsed(1, run)));
  const auto times = static_cast<int64_t>(std::clamp(std::ceil(kLongEnough / first), 1.0, 1000.0));
  return elapsed(times, run) / static_cast<double>(times);
}

}  // namespace rkif::benchmark
