// The layer that makes logits.
#pragma once
#include <ATen/core/Tensor.h>

#include "models/linear.h"

namespace rkif {

// states [rows, width] -> logits [rows, vocabulary], fp32. `head` is fp32 and has no bias and no adapter.
at::Tensor vocabulary_head(const at::Tensor& states, const Linear& head);

}  // namespace rkif
