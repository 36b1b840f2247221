// Launchers of kernels/select.h and kernels/mask_rows.h on the GPU, as class Kernels describes them; all pointers are
// the device's.
#pragma once
#include <vector>

#include "kernels/cuda/context.h"
#include "kernels/mask_rows.h"
#include "kernels/select.h"

namespace rkif::cuda {

void quantiles(const Context& context, int64_t n, const float* values, const std::vector<double>& at, double* results);
void mask_by_quantile(const Context& context, const std::vector<int64_t>& lengths, const float* values, double at,
                      Compare compare, uint8_t* mask, float* thresholds);
void mask_top_k(const Context& context, const std::vector<TopK>& parts, const float* values, uint8_t* mask,
                float* thresholds);
void count_bits(const Context& context, int64_t n, const uint8_t* mask, int64_t* result);
void mask_rows(const Context& context, const std::vector<RowMatrix>& matrices, float* values, const float* sums,
               double at);

}  // namespace rkif::cuda
