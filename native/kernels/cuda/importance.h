// Launcher of kernels/importance.h on the GPU; all pointers are the device's.
#pragma once
#include "kernels/cuda/context.h"
#include "kernels/importance.h"

namespace rkif::cuda {

void update_importance(const Context& context, int64_t n, const float* weights, const float* gradients,
                       const uint8_t* mask, ImportanceDecay decay, float* importance, float* uncertainty);

}  // namespace rkif::cuda
