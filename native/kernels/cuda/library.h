// What librkif_cuda.so exports, for whoever opens it.
#pragma once
#include "kernels/kernels.h"

namespace rkif {

// The kernels for the GPU that is current on the calling thread, on its current stream; they live as long as the
// process.
using CudaKernelsFunction = const Kernels*();
inline constexpr const char* kCudaKernelsName = "rkif_cuda_kernels";

}  // namespace rkif
