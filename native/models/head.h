// The layer that makes logits.
#pragma once
#include <ATen/core/Tensor.h>

#include "models/linear.h"
#include "models/model.h"

namespace rkif {

// states [rows, width] -> logits [rows, vocabulary], fp32. `head` is fp32 and has no bias and no adapter. On a bf16
// base, a step that trains rounds the products' operands as the base's other products do; what is evaluated does not.
// Where memory is there for layers laid out for products (ModelOptions::prepack) and the CPU multiplies bf16 (and the
// width is even), and on a GPU, it reads a copy of the head in bf16, which the first such step makes.
at::Tensor vocabulary_head(const at::Tensor& states, const Linear& head, const ModelOptions& options);

}  // namespace rkif
