#include "models/parameters.h"

#include <ATen/core/grad_mode.h>

#include <cmath>
#include <map>
#include <stdexcept>

#include "models/int8.h"

namespace rkif {
namespace {

at::Tensor stored(const ParameterSlot& slot, WeightReader& reader) {
  return reader.take(slot.stored_as.empty() ? slot.name : slot.stored_as, slot.shape);
}

FlatParameters install_all_trainable(const std::vector<ParameterSlot>& slots, const ModelOptions& options,
                                     WeightReader& reader) {
  FlatParameters flat;
  for (const ParameterSlot& slot : slots) flat.add(slot.name, slot.shape);
  flat.allocate(options.device);
  for (size_t i = 0; i < slots.size(); ++i) {
    at::Tensor values = stored(slots[i], reader);
    if (values.defined()) {
      flat.leaf(i).detach().copy_(values);
      if (options.converted) options.converted(values);
    }
    *slots[i].tensor = flat.leaf(i);
  }
  return flat;
}

// The weight as the base type has it, laid out where that is wanted. Another copy than the stored one tells
// `converted`.
void place(const ParameterSlot& slot, const at::Tensor& values, const ModelOptions& options) {
  if (slot.linear != nullptr && options.base_type == BaseType::kInt8) {
    QuantisedRows quantised = quantise_rows(values);
    *slot.tensor = quantised.values.to(options.device);
    slot.linear->scales = quantised.scales.to(options.device);
  } else {
    bool wide = slot.small || options.base_type == BaseType::kFloat32;
    // Rounded here, then moved: half of the bytes where the base is bf16.
    *slot.tensor = values.to(wide ? at::kFloat : at::kBFloat16).contiguous().to(options.device);
  }
  if (options.prepack && slot.linear != nullptr && options.device.is_cpu()) slot.linear->prepack();
  const bool shared = slot.tensor->defined() && slot.tensor->data_ptr() == values.data_ptr();
  if (options.converted && !shared) options.converted(values);
}

// Adapted modules by path. Throws for what cannot be.
std::map<std::string, AdaptedModule> checked(const ModelOptions& options, const SlotList& list) {
  auto refuse = [](const std::string& what) { throw std::invalid_argument("adapter: " + what); };
  if (!(options.adapter_dropout >= 0 && options.adapter_dropout < 1)) {
    refuse("dropout is " + std::to_string(options.adapter_dropout) + ", expected 0 <= rate < 1");
  }
  std::map<std::string, AdaptedModule> by_path;
  for (const AdaptedModule& adapted : options.adapter) {
    const std::string& path = adapted.module;
    if (adapted.r < 1) refuse("rank of " + path + " is " + std::to_string(adapted.r) + ", expected at least 1");
    if (!std::isfinite(static_cast<float>(adapted.scale))) refuse("scale of " + path + " is not a finite number");
    if (!by_path.emplace(path, adapted).second) refuse("module " + path + " is given twice");
  }
  std::vector<std::string> modules = list.linear_modules();
  for (const auto& [path, adapted] : by_path) {
    if (std::find(modules.begin(), modules.end(), path) == modules.end()) {
      refuse("\"" + path + "\" is no linear layer of this model; expected a path such as \"" + modules.front() + "\"");
    }
  }
  return by_path;
}

FlatParameters install_adapter(const SlotList& list, const ModelOptions& options, WeightReader& reader) {
  std::map<std::string, AdaptedModule> adapted = checked(options, list);
  FlatParameters flat;
  std::vector<std::pair<Linear*, double>> layers;
  for (const ParameterSlot& slot : list.slots()) {
    at::Tensor values = stored(slot, reader);
    if (values.defined()) place(slot, values, options);
    if (slot.linear == nullptr) continue;
    auto found = adapted.find(slot.module());
    if (found == adapted.end()) continue;
    const AdaptedModule& module = found->second;
    flat.add("base_model.model." + module.module + ".lora_A.weight", {module.r, slot.shape[1]});
    flat.add("base_model.model." + module.module + ".lora_B.weight", {slot.shape[0], module.r});
    layers.emplace_back(slot.linear, module.scale);
  }
  flat.allocate(options.device);
  size_t leaf = 0;
  for (auto& [layer, scale] : layers) {
    layer->a = flat.leaf(leaf++);
    layer->b = flat.leaf(leaf++);
    layer->scale = static_cast<float>(scale);
  }
  return flat;
}

}  // namespace

void SlotList::linear(const std::string& module, int64_t out, int64_t in, Linear& layer, bool bias) {
  add({module + ".weight", {out, in}, &layer.weight, &layer});
  if (bias) small(module + ".bias", {out}, layer.bias);
}

void SlotList::small(std::string name, std::vector<int64_t> shape, at::Tensor& tensor) {
  add({std::move(name), std::move(shape), &tensor, nullptr, true});
}

std::vector<std::string> SlotList::linear_modules() const {
  std::vector<std::string> modules;
  for (const ParameterSlot& slot : slots_) {
    if (slot.linear != nullptr) modules.push_back(slot.module());
  }
  return modules;
}

FlatParameters install(const SlotList& list, const ModelOptions& options, WeightReader& reader) {
  at::NoGradGuard no_grad;
  if (!options.full) return install_adapter(list, options, reader);
  if (options.base_type != BaseType::kFloat32) {
    throw std::invalid_argument("full-parameter training keeps its weights in float32: set the base type to float32");
  }
  return install_all_trainable(list.slots(), options, reader);
}

}  // namespace rkif
