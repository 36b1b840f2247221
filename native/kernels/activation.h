// The inside of a feed-forward layer in one pass: activation, gate and dropout; and its gradients in another.
#pragma once
#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/dropout.h"

namespace rkif {

// kGelu: with erf; kGeluNew: the tanh form.
enum class Activation { kRelu, kGelu, kGeluNew, kSilu };

// out = dropout(act(x) * gate); without the gate where it is null. All [rows, columns], contiguous, T = float or
// Bfloat16; computed in fp32. Functions are within 1e-6 of their values, relative to max(|value|, |x|).
template <class T>
void activation_forward(Activation activation, const MaskedMatrix& shape, const T* x, const T* gate, T* out);

// dx, and dgate where there is a gate, from dout, the gradient of `out`. They may take the place of dout, x or gate.
template <class T>
void activation_backward(Activation activation, const MaskedMatrix& shape, const T* x, const T* gate, const T* dout,
                         T* dx, T* dgate);

}  // namespace rkif
