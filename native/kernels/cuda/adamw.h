// Launchers of kernels/adamw.h and step_report.h on the GPU; all pointers are the device's, also those in `importance`.
#pragma once
#include "kernels/adamw.h"
#include "kernels/cuda/context.h"
#include "kernels/step_report.h"

namespace rkif::cuda {

// As Kernels::adamw_step (kernels.h).
void adamw_step(const Context& context, int64_t n, float* weights, const float* gradients, float* m, float* v,
                double max_norm, const AdamW& options, const ImportanceUpdate* importance, const StepReport* after,
                StepReport* report);
// As Kernels::add_losses.
void add_losses(const Context& context, int64_t n, const float* log_probabilities, StepReport* report);

}  // namespace rkif::cuda
