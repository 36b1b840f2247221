#pragma once
#include "kernels/cuda/context.h"
#include "kernels/pooling.h"

namespace rkif::cuda {

// As kernels/pooling.h describes them; `starts`, too, is in the device's memory.
void mean_unit_vectors(const Context& context, const PackedTexts& texts, int64_t columns, const float* states,
                       float* out, float* lengths);
void mean_unit_vectors_gradient(const Context& context, const PackedTexts& texts, int64_t columns, const float* out,
                                const float* lengths, const float* g, float* dstates);

}  // namespace rkif::cuda
