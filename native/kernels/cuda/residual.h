#pragma once
#include "kernels/bfloat16.h"
#include "kernels/cuda/context.h"
#include "kernels/dropout.h"

namespace rkif::cuda {

// As kernels/residual.h describes them; T = float or Bfloat16.
template <class T>
void add_residual(const Context& context, const MaskedMatrix& shape, const float* residual, const T* x, float* out);
template <class T>
void residual_gradient(const Context& context, const MaskedMatrix& shape, const float* g, T* dx);

}  // namespace rkif::cuda
