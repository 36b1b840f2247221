// The layer that makes logits.
#pragma once
#include <ATen/core/Tensor.h>

#include "models/linear.h"
#include "models/model.h"

namespace rkif {

// states [rows, width] -> logits [rows, vocabulary], fp32. `head` is fp32 and has no bias and no adapter. On a bf16
// base, a step that trains rounds the products' operands as the base's other products do; what is evaluated does not.
at::Tensor vocabulary_head(const at::Tensor& states, const Linear& head, BaseType base);

}  // namespace rkif
