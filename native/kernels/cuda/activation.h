#pragma once
#include "kernels/activation.h"
#include "kernels/cuda/context.h"

namespace rkif::cuda {

// As kernels/activation.h describes them; T = float or Bfloat16.
template <class T>
void activation_forward(const Context& context, Activation activation, const MaskedMatrix& shape, const T* x,
                        const T* gate, T* out);
template <class T>
void activation_backward(const Context& context, Activation activation, const MaskedMatrix& shape, const T* x,
                         const T* gate, const T* dout, T* dx, T* dgate);

}  // namespace rkif::cuda
