// The inside of a feed-forward layer: activation, gate and dropout as one differentiable operation that keeps only its
// inputs.
#pragma once
#include <ATen/core/Tensor.h>

#include "models/dropout.h"

namespace rkif {

// kGelu: with erf; kGeluNew: the tanh form.
enum class Activation { kRelu, kGelu, kGeluNew, kSilu };

// dropout(act(x)), or dropout(act(x) * gate) where `gate` is defined.
at::Tensor activate(Activation activation, const at::Tensor& x, const at::Tensor& gate, const Dropout& place);

}  // namespace rkif
