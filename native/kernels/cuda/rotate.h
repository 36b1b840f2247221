#pragma once
#include "kernels/cuda/context.h"
#include "kernels/rotate.h"

namespace rkif::cuda {

// As kernels/rotate.h describes it.
void rotate_rows(const Context& context, int64_t rows, int64_t heads, int64_t head_size, const float* x,
                 const int32_t* positions, const float* cosine, const float* sine, bool inverse, float* out);

}  // namespace rkif::cuda
