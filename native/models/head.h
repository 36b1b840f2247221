// The layer that makes logits, and the losses of labels behind it.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "models/linear.h"
#include "models/model.h"

namespace rkif {

// What makes a language model's logits: logits = W (scale * states). It outlives every graph.
struct VocabularyHead {
  const Linear& layer;  // fp32, without bias and adapter
  double scale = 1;
};

// states [rows, width] -> logits [rows, vocabulary], fp32; on the graph where the states or the layer are.
at::Tensor vocabulary_logits(const at::Tensor& states, const VocabularyHead& head, const ModelOptions& options);

// The sum of the losses of labels[i] after states[i], reported as the options say; the gradient of that sum *
// loss_scale / divisor goes back through the graph that made the states, and into the layer where it trains.
//
// On a bf16 base this rounds the products' operands as the base's other products do; logits that are to choose tokens
// are not rounded. Where memory is there for layers laid out for products (ModelOptions::prepack) and the CPU
// multiplies bf16 (and the width is even), and on a GPU, it reads a copy of the layer in bf16, which the first such
// call makes. Of a frozen layer, a CPU keeps no logits.
LossReport backward_of_labels(const at::Tensor& states, const std::vector<int32_t>& labels, const VocabularyHead& head,
                              const ModelOptions& options, const AccumulateOptions& accumulate);

}  // namespace rkif
