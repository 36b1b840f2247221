// From a checkpoint to a model's weights: frozen with an adapter, or all of them trainable. A model lists where its
// weights go; the rest is the same for every family.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "models/layout.h"
#include "models/lora.h"
#include "models/weights.h"

namespace rkif {

// Where one weight goes, in the order of the Hugging Face state dict.
struct ParameterSlot {
  std::string module;  // its tensor is module + ".weight"
  std::vector<int64_t> shape;
  at::Tensor* tensor;
  Linear* linear = nullptr;    // the layer an adapter may be put on
  bool small = false;          // norms, tables and the head stay fp32 whatever the base type
  std::string stored_as = {};  // the name in this checkpoint where it is another one
};

// Fills the slots. LoRA: weights in the base type (sharing memory where they have it already), zeros for the adapter.
// Full mode: every weight is a leaf of the flat vector, starting as stored. The caller then takes what else it needs of
// `reader`. Throws std::invalid_argument; what is missing is noted by the reader, and then the model must not be used.
FlatParameters install(const std::vector<ParameterSlot>& slots, const ModelOptions& options, WeightReader& reader);

}  // namespace rkif
