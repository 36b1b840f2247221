// What librkif_cuda.so exports, for whoever opens it.
#pragma once
#include "kernels/device_memory.h"
#include "kernels/kernels.h"

namespace rkif {

// The kernels for the GPU that is current on the calling thread, on its current stream; they live as long as the
// process.
using CudaKernelsFunction = const Kernels*();
inline constexpr const char* kCudaKernelsName = "rkif_cuda_kernels";

// The memory of the process' GPUs, as long as the process lives.
using CudaMemoryFunction = const DeviceMemory*();
inline constexpr const char* kCudaMemoryName = "rkif_cuda_memory";

namespace cuda {
// What rkif_cuda_memory() gives.
const DeviceMemory* pool_memory();
}  // namespace cuda

}  // namespace rkif
