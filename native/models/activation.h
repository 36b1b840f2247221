// The inside of a feed-forward layer: activation, gate and dropout as one differentiable operation that keeps only its
// inputs.
#pragma once
#include <ATen/core/Tensor.h>

#include "kernels/activation.h"
#include "models/dropout.h"

namespace rkif {

// dropout(act(x)), or dropout(act(x) * gate) where `gate` is defined. x and gate are both fp32 or both bf16, and so is
// the result; computed in fp32. Their memory becomes that of their gradients: nobody else may need their values later.
at::Tensor activate(Activation activation, const at::Tensor& x, const at::Tensor& gate, const Dropout& place);

}  // namespace rkif
