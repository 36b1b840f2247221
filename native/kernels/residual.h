// The end of a sublayer in one pass: dropout and the residual connection.
#pragma once
#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/dropout.h"

namespace rkif {

// out = residual + dropout(x); all [rows, columns], contiguous, T = float or Bfloat16. `out` may be an input.
template <class T>
void add_residual(const MaskedMatrix& shape, const float* residual, const T* x, float* out);

// The gradient of x from that of `out`: dropout(g), rounded to T.
template <class T>
void residual_gradient(const MaskedMatrix& shape, const float* g, T* dx);

}  // namespace rkif
