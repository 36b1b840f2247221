// From a checkpoint to a model's weights: frozen with an adapter, or all of them trainable. A model lists where its
// weights go; the rest is the same for every family.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "models/layout.h"
#include "models/linear.h"
#include "models/weights.h"

namespace rkif {

// Where one weight goes.
struct ParameterSlot {
  std::string name;  // Hugging Face name
  std::vector<int64_t> shape;
  at::Tensor* tensor;
  Linear* linear = nullptr;    // the layer whose matrix this is, where an adapter may be put on it
  bool small = false;          // norms, biases, tables and the head stay fp32 whatever the base type
  std::string stored_as = {};  // the name in this checkpoint where it is another one

  // Path of the layer: the name without ".weight".
  std::string module() const { return name.substr(0, name.rfind('.')); }
};

// The slots of a model, in the order of the Hugging Face state dict.
class SlotList {
 public:
  // MODULE.weight [out, in] and, where asked, MODULE.bias [out].
  void linear(const std::string& module, int64_t out, int64_t in, Linear& layer, bool bias = false);
  // A tensor that stays fp32.
  void small(std::string name, std::vector<int64_t> shape, at::Tensor& tensor);
  void add(ParameterSlot slot) { slots_.push_back(std::move(slot)); }

  const std::vector<ParameterSlot>& slots() const { return slots_; }
  // Paths of the layers an adapter can be put on.
  std::vector<std::string> linear_modules() const;

 private:
  std::vector<ParameterSlot> slots_;
};

// Fills the slots. LoRA: weights in the base type (sharing memory where they have it already), zeros for the adapter.
// Full mode: every weight is a leaf of the flat vector, starting as stored. The caller then takes what else it needs of
// `reader`. Throws std::invalid_argument; what is missing is noted by the reader, and then the model must not be used.
FlatParameters install(const SlotList& list, const ModelOptions& options, WeightReader& reader);

}  // namespace rkif
