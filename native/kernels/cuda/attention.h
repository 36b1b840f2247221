// Attention on the GPU: kernels/attention.h, with all pointers to values in the device's memory. Scores are never
// stored: tiles of queries meet tiles of keys, and the softmax is kept up as they come (Dao et al. 2022). No floating
// atomics: the same results in every run.
#pragma once
#include <cstdint>

#include "kernels/cuda/context.h"
#include "kernels/kernels.h"

namespace rkif::cuda {

// Heads of more than 256 throw std::invalid_argument. With AttentionShape::narrow, whole tiles of queries take
// the tensor cores; calls of a few queries (generation), which wait for memory, and gradients of heads larger than 128
// are computed in fp32 all the same.
void attention_forward(const Context& context, const AttentionShape& shape, const DeviceSpans& spans,
                       const OffsetBias& bias, const AttentionDropout& dropout, const float* q, const float* k,
                       const float* v, float* out, float* log_sum_exp, int64_t query_rows,
                       const AttentionPrefix& prefix);

// Spans share no keys.
void attention_backward(const Context& context, const AttentionShape& shape, const DeviceSpans& spans,
                        const OffsetBias& bias, const AttentionDropout& dropout, const float* q, const float* k,
                        const float* v, const float* out, const float* log_sum_exp, int64_t query_rows,
                        const float* grad_out, float* grad_q, float* grad_k, float* grad_v, float* grad_bias);

}  // namespace rkif::cuda
