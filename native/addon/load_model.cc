// Options from JS, weights from mapped files, and the model made of both.
#include <ATen/ops/from_blob.h>

#include <map>
#include <set>

#include "addon/model.h"
#include "checkpoints/safetensors.h"
#include "models/t5.h"

namespace rkif::addon {

namespace {

Activation activation(const Argument& argument) {
  std::string name = argument.string();
  if (name == "relu") return Activation::kRelu;
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_new") return Activation::kGeluNew;
  if (name == "silu") return Activation::kSilu;
  argument.refuse("\"relu\", \"gelu\", \"gelu_new\" or \"silu\"");
}

double rate(const Argument& argument) {
  double x = argument.number();
  if (x < 0 || x >= 1) argument.refuse("a rate from 0 to below 1");
  return x;
}

T5Config t5_config(const Argument& c) {
  T5Config config;
  config.vocab_size = c["vocabSize"].integer(1);
  config.d_model = c["dModel"].integer(1);
  config.d_kv = c["dKv"].integer(1);
  config.d_ff = c["dFf"].integer(1);
  config.num_heads = c["numHeads"].integer(1);
  config.num_layers = c["numLayers"].integer(1);
  config.num_decoder_layers = c["numDecoderLayers"].integer(1);
  config.relative_attention_num_buckets = c["relativeAttentionNumBuckets"].integer(2);
  config.relative_attention_max_distance = c["relativeAttentionMaxDistance"].integer(2);
  config.layer_norm_epsilon = c["layerNormEpsilon"].number();
  config.dropout_rate = rate(c["dropoutRate"]);
  config.activation = activation(c["activation"]);
  config.gated = c["gated"].boolean();
  config.tie_word_embeddings = c["tieWordEmbeddings"].boolean();
  config.scale_decoder_outputs = c["scaleDecoderOutputs"].boolean();
  config.pad_token_id = c["padTokenId"].integer(0);
  config.eos_token_id = c["eosTokenId"].integer(0);
  config.decoder_start_token_id = c["decoderStartTokenId"].integer(0);
  return config;
}

ModelOptions model_options(const Argument& options) {
  ModelOptions result;
  std::string base = options["baseType"].string();
  if (base != "float32" && base != "bfloat16") options["baseType"].refuse("\"float32\" or \"bfloat16\"");
  result.base_type = base == "float32" ? at::kFloat : at::kBFloat16;
  if (!options["baseDropout"].missing()) result.base_dropout = rate(options["baseDropout"]);
  Argument trainable = options["trainable"];
  std::string kind = trainable["kind"].string();
  if (kind == "full") {
    result.full = true;
    if (base != "float32") options["baseType"].refuse("\"float32\" where every weight trains");
  } else if (kind == "lora") {
    result.lora.r = trainable["r"].integer(1);
    result.lora.alpha = trainable["alpha"].number();
    result.lora.dropout = rate(trainable["dropout"]);
    result.lora.rs_lora = trainable["rsLora"].boolean();
    result.lora.target_modules = trainable["targetModules"].strings();
  } else {
    trainable["kind"].refuse("\"lora\" or \"full\"");
  }
  return result;
}

// A tensor that shares the map's memory where the elements are aligned; copied otherwise. False for other types than
// those of weights.
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

Weights open_weights(const std::vector<std::string>& files, const Skipped& skip, bool copy) {
  Weights weights;
  for (const std::string& path : files) {
    auto file = SafetensorsFile::open(path, copy);
    const auto left_out = skip.find(path);
    for (const StoredTensor& stored : file->tensors()) {
      if (left_out != skip.end() && left_out->second.count(stored.name) > 0) continue;
      at::Tensor tensor;
      if (!as_tensor(file, stored, tensor))
        throw CheckpointMismatch(path + ": tensor \"" + stored.name + "\" has type " + stored.type +
                                 ", expected F32, F16, BF16 or F64");
      if (!weights.emplace(stored.name, tensor).second)
        throw CheckpointInvalid(path + ": tensor \"" + stored.name +
                                "\" is in an earlier file of this checkpoint as well");
    }
  }
  return weights;
}

}  // namespace

Napi::Value load_model(const Napi::CallbackInfo& info) {
  Argument options = argument(info, 0, "loadModel: options");
  std::string family = options["family"].string();
  if (family != "t5") options["family"].refuse("\"t5\"");
  T5Config config = t5_config(options["config"]);
  ModelOptions given = model_options(options);
  std::vector<std::string> files = options["files"].strings();
  Skipped skip = skipped(options["skip"], files);
  bool copy = !options["copyWeights"].missing() && options["copyWeights"].boolean();
  return Environment::of(info.Env())
      .promise(
          info.Env(),
          [=] {
            auto state = std::make_shared<ModelState>();
            state->model = make_t5(config, given, open_weights(files, skip, copy));
            state->vocab_size = config.vocab_size;
            state->eos_token_id = config.eos_token_id;
            for (const auto& [vector, tensor] : {std::pair{state->parameters, state->model->parameters()},
                                                 std::pair{state->gradients, state->model->gradients()}}) {
              vector->tensor = tensor;
              vector->length = tensor.numel();
              vector->owned = true;
            }
            return state;
          },
          [](Napi::Env env, const std::shared_ptr<ModelState>& state) -> Napi::Value {
            return ModelHandle::create(env, state);
          });
}

}  // namespace rkif::addon
