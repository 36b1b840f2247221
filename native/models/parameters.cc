#include "models/parameters.h"

#include <ATen/core/grad_mode.h>

#include <cmath>
#include <stdexcept>

namespace rkif {
namespace {

at::Tensor stored(const ParameterSlot& slot, WeightReader& reader) {
  return reader.take(slot.stored_as.empty() ? slot.module + ".weight" : slot.stored_as, slot.shape);
}

FlatParameters install_all_trainable(const std::vector<ParameterSlot>& slots, WeightReader& reader) {
  FlatParameters flat;
  for (const ParameterSlot& slot : slots) flat.add(slot.module + ".weight", slot.shape);
  flat.allocate();
  for (size_t i = 0; i < slots.size(); ++i) {
    at::Tensor values = stored(slots[i], reader);
    if (values.defined()) flat.leaf(i).detach().copy_(values);
    *slots[i].tensor = flat.leaf(i);
  }
  return flat;
}

void check(const LoraConfig& config) {
  if (config.r < 1) throw std::invalid_argument("lora r is " + std::to_string(config.r) + ", expected at least 1");
  if (!(config.dropout >= 0 && config.dropout < 1)) {
    throw std::invalid_argument("lora dropout is " + std::to_string(config.dropout) + ", expected 0 <= rate < 1");
  }
  if (!std::isfinite(config.alpha)) throw std::invalid_argument("lora alpha is not a finite number");
  if (config.target_modules.empty()) throw std::invalid_argument("lora target modules: none given");
}

FlatParameters install_adapter(const std::vector<ParameterSlot>& slots, const ModelOptions& options,
                               WeightReader& reader) {
  check(options.lora);
  std::vector<const ParameterSlot*> candidates;
  std::vector<std::string> modules;
  for (const ParameterSlot& slot : slots) {
    at::Tensor values = stored(slot, reader);
    if (values.defined()) *slot.tensor = values.to(slot.small ? at::kFloat : options.base_type).contiguous();
    if (slot.linear == nullptr) continue;
    candidates.push_back(&slot);
    modules.push_back(slot.module);
  }
  std::vector<bool> adapted = match_targets(modules, options.lora.target_modules);

  FlatParameters flat;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (!adapted[i]) continue;
    flat.add("base_model.model." + modules[i] + ".lora_A.weight", {options.lora.r, candidates[i]->shape[1]});
    flat.add("base_model.model." + modules[i] + ".lora_B.weight", {candidates[i]->shape[0], options.lora.r});
  }
  flat.allocate();
  size_t leaf = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (!adapted[i]) continue;
    candidates[i]->linear->a = flat.leaf(leaf++);
    candidates[i]->linear->b = flat.leaf(leaf++);
    candidates[i]->linear->scale = static_cast<float>(lora_scale(options.lora));
  }
  return flat;
}

}  // namespace

FlatParameters install(const std::vector<ParameterSlot>& slots, const ModelOptions& options, WeightReader& reader) {
  at::NoGradGuard no_grad;
  if (options.base_type != at::kFloat && options.base_type != at::kBFloat16) {
    throw std::invalid_argument(std::string("base type is ") + c10::toString(options.base_type) +
                                ", expected float32 or bfloat16");
  }
  if (!options.full) return install_adapter(slots, options, reader);
  if (options.base_type != at::kFloat) {
    throw std::invalid_argument("full-parameter training keeps its weights in float32: set the base type to float32");
  }
  return install_all_trainable(slots, reader);
}

}  // namespace rkif
