#include "kernels/device_memory.h"

#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <cuda_runtime_api.h>

#include <algorithm>

#include "kernels/cuda/library.h"

namespace rkif::cuda {
namespace {

namespace allocator = c10::cuda::CUDACachingAllocator;

class PoolMemory final : public DeviceMemory {
 public:
  int64_t total(int device) const override {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
    size_t free = 0, total = 0;
    C10_CUDA_CHECK(cudaMemGetInfo(&free, &total));
    return static_cast<int64_t>(total);
  }

  void limit(int device, int64_t bytes) const override {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
    const double share = static_cast<double>(bytes) / static_cast<double>(total(device));
    allocator::setMemoryFraction(std::min(1.0, share), static_cast<c10::DeviceIndex>(device));
  }

  DeviceMemoryUse use(int device) const override {
    const auto stats = allocator::getDeviceStats(static_cast<c10::DeviceIndex>(device));
    // The first of each kind is the sum over small and large blocks.
    const auto& allocated = stats.allocated_bytes[0];
    const auto& reserved = stats.reserved_bytes[0];
    return {allocated.current, reserved.current, allocated.peak, reserved.peak};
  }

  void reset_peaks(int device) const override { allocator::resetPeakStats(static_cast<c10::DeviceIndex>(device)); }

  void trim() const override { allocator::emptyCache(); }
};

}  // namespace

const DeviceMemory* pool_memory() {
  // Never destroyed: the thread that computes may end after static destructors.
  static const auto* memory = new PoolMemory;
  return memory;
}

}  // namespace rkif::cuda
