// The launchers of this folder as one set of kernels.
#pragma once
#include <memory>

#include "kernels/cuda/context.h"
#include "kernels/kernels.h"

namespace rkif::cuda {

// `context` gives, at every call, where the calling thread's work goes now.
std::unique_ptr<const Kernels> cuda_kernels(Context (*context)());

}  // namespace rkif::cuda
