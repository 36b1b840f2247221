// Launcher of kernels/adamw.h on the GPU; all pointers are the device's, also those in `importance`.
#pragma once
#include "kernels/adamw.h"
#include "kernels/cuda/context.h"
#include "kernels/vector_ops.h"

namespace rkif::cuda {

// As Kernels::adamw_step (kernels.h).
void adamw_step(const Context& context, int64_t n, float* weights, const float* gradients, float* m, float* v,
                const Norm* norm, double max_norm, const AdamW& options, const ImportanceUpdate* importance);

}  // namespace rkif::cuda
