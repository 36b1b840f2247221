// Options from JS, weights from mapped files, and the model made of both.
#include <ATen/ops/from_blob.h>

#include <map>
#include <set>

#include "addon/cuda.h"
#include "addon/model.h"
#include "addon/model_family.h"
#include "checkpoints/safetensors.h"
#include "models/gpu.h"

namespace rkif::addon {

namespace {

BaseType base_type(const Argument& argument) {
  std::string name = argument.string();
  if (name == "float32") return BaseType::kFloat32;
  if (name == "bfloat16") return BaseType::kBFloat16;
  if (name == "int8") return BaseType::kInt8;
  argument.refuse("\"float32\", \"bfloat16\" or \"int8\"");
}

ModelOptions model_options(const Argument& options) {
  ModelOptions result;
  result.base_type = base_type(options["baseType"]);
  if (!options["baseDropout"].missing()) result.base_dropout = options["baseDropout"].rate();
  if (!options["prepack"].missing()) result.prepack = options["prepack"].boolean();
  Argument checkpointing = options["gradientCheckpointing"];
  if (!checkpointing.missing()) result.gradient_checkpointing = checkpointing.boolean();
  if (!options["device"].missing()) result.device = device_of(options["device"]);
  Argument trainable = options["trainable"];
  std::string kind = trainable["kind"].string();
  if (kind == "full") {
    result.full = true;
    if (result.base_type != BaseType::kFloat32) {
      options["baseType"].refuse("\"float32\" where every weight trains");
    }
  } else if (kind == "lora") {
    result.adapter_dropout = trainable["dropout"].rate();
    for (const Argument& module : trainable["modules"].elements()) {
      result.adapter.push_back({module["module"].string(), module["r"].integer(1), module["scale"].number()});
    }
  } else {
    trainable["kind"].refuse("\"lora\" or \"full\"");
  }
  return result;
}

// A tensor that shares the map's memory where the elements are aligned; copied otherwise. False for other types than
// those of weights and of the indices that some checkpoints keep beside them.
bool as_tensor(const std::shared_ptr<SafetensorsFile>& file, const StoredTensor& stored, at::Tensor& tensor) {
  at::ScalarType type;
  if (stored.type == "F32")
    type = at::kFloat;
  else if (stored.type == "F16")
    type = at::kHalf;
  else if (stored.type == "BF16")
    type = at::kBFloat16;
  else if (stored.type == "F64")
    type = at::kDouble;
  else if (stored.type == "I64")
    type = at::kLong;
  else
    return false;
  auto* data = const_cast<std::byte*>(stored.data);  // from_blob takes no const; nothing writes to weights
  bool aligned = reinterpret_cast<uintptr_t>(data) % element_size(stored.type) == 0;
  if (aligned) {
    tensor = at::from_blob(data, stored.shape, [file](void*) {}, at::TensorOptions(type));
    return true;
  }
  std::shared_ptr<std::byte[]> copy(new std::byte[std::max<size_t>(stored.byte_length, 1)]);
  std::copy(data, data + stored.byte_length, copy.get());
  tensor = at::from_blob(copy.get(), stored.shape, [copy](void*) {}, at::TensorOptions(type));
  return true;
}

// By file, names of tensors in it that are not the checkpoint's.
using Skipped = std::map<std::string, std::set<std::string>>;

Skipped skipped(const Argument& skip, const std::vector<std::string>& files) {
  Skipped result;
  if (skip.missing()) return result;
  for (const std::string& path : files) {
    const Argument names = skip[path.c_str()];
    if (names.missing()) continue;
    for (const std::string& name : names.strings()) result[path].insert(name);
  }
  return result;
}

// The tensors of a checkpoint, and where each lies in its file.
struct OpenWeights {
  Weights weights;
  std::map<const void*, std::pair<std::shared_ptr<SafetensorsFile>, const StoredTensor*>> places;

  void release(const at::Tensor& tensor) const {
    auto found = places.find(tensor.const_data_ptr());
    if (found != places.end()) found->second.first->release_pages(*found->second.second);
  }
};

OpenWeights open_weights(const std::vector<std::string>& files, const Skipped& skip, bool copy) {
  OpenWeights opened;
  for (const std::string& path : files) {
    auto file = SafetensorsFile::open(path, copy);
    const auto left_out = skip.find(path);
    for (const StoredTensor& stored : file->tensors()) {
      if (left_out != skip.end() && left_out->second.count(stored.name) > 0) continue;
      at::Tensor tensor;
      if (!as_tensor(file, stored, tensor))
        throw CheckpointMismatch(path + ": tensor \"" + stored.name + "\" has type " + stored.type +
                                 ", expected F32, F16, BF16 or F64");
      if (!opened.weights.emplace(stored.name, tensor).second)
        throw CheckpointInvalid(path + ": tensor \"" + stored.name +
                                "\" is in an earlier file of this checkpoint as well");
      opened.places.emplace(stored.data, std::pair{file, &stored});
    }
  }
  return opened;
}

}  // namespace

Napi::Value load_model(const Napi::CallbackInfo& info) {
  Argument options = argument(info, 0, "loadModel: options");
  Family family = family_of(options);
  ModelOptions given = model_options(options);
  std::vector<std::string> files = options["files"].strings();
  Skipped skip = skipped(options["skip"], files);
  bool copy = !options["copyWeights"].missing() && options["copyWeights"].boolean();
  return Environment::of(info.Env())
      .promise(
          info.Env(),
          [=] {
            require_open(given.device);
            auto state = std::make_shared<ModelState>();
            OpenWeights opened = open_weights(files, skip, copy);
            ModelOptions options = given;
            options.converted = [&opened](const at::Tensor& tensor) { opened.release(tensor); };
            state->model = family.make(options, opened.weights);
            state->vocab_size = family.vocab_size;
            state->encoder = family.encoder;
            state->full = given.full;
            for (const auto& [vector, tensor] : {std::pair{state->parameters, state->model->parameters()},
                                                 std::pair{state->gradients, state->model->gradients()}}) {
              vector->tensor = tensor;
              vector->length = tensor.numel();
              vector->owned = true;
              vector->device = tensor.device();
            }
            return state;
          },
          [](Napi::Env env, const std::shared_ptr<ModelState>& state) -> Napi::Value {
            return ModelHandle::create(env, state);
          });
}

}  // namespace rkif::addon
