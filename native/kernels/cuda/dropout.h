#pragma once
#include "kernels/cuda/context.h"
#include "kernels/dropout.h"

namespace rkif::cuda {

// `out` may be `in`.
void dropout_rows(const Context& context, const MaskedMatrix& shape, const float* in, float* out);

}  // namespace rkif::cuda
