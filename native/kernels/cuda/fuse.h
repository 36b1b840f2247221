// Launchers of kernels/fuse.h on the GPU, as class Kernels describes them; all pointers are the device's.
#pragma once
#include "kernels/cuda/context.h"
#include "kernels/kernels.h"

namespace rkif::cuda {

void fuse(const Context& context, int64_t n, const float* start, const float* tau_in, const float* tau_out,
          const FusionMask& in, const FusionMask& out, const FusionTable& table, float* parameters, int64_t* counts);
void fuse_adaptive(const Context& context, int64_t n, const float* start, const float* tau_in, const float* tau_out,
                   const float* score_in, const float* score_out, float temperature, float* parameters,
                   float* weight_in, float* weight_out, int32_t* fused);

}  // namespace rkif::cuda
