// Options from JS, weights from mapped files, and the model made of both.
#include <ATen/ops/from_blob.h>

#include <functional>
#include <map>
#include <set>

#include "addon/model.h"
#include "checkpoints/safetensors.h"
#include "models/decoder.h"
#include "models/encoder.h"
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
  config.decoder_start_token_id = c["decoderStartTokenId"].integer(0);
  return config;
}

RopeConfig rope_config(const Argument& r) {
  RopeConfig rope;
  rope.theta = r["theta"].number();
  Argument scaling = r["scaling"];
  if (scaling.value.IsNull()) return rope;
  std::string type = scaling["type"].string();
  rope.factor = scaling["factor"].number();
  if (type == "linear") {
    rope.scaling = RopeConfig::Scaling::kLinear;
  } else if (type == "dynamic") {
    rope.scaling = RopeConfig::Scaling::kDynamic;
    rope.positions = scaling["maxPositions"].integer(1);
  } else if (type == "llama3") {
    rope.scaling = RopeConfig::Scaling::kLlama3;
    rope.low_freq_factor = scaling["lowFreqFactor"].number();
    rope.high_freq_factor = scaling["highFreqFactor"].number();
    rope.positions = scaling["originalMaxPositions"].integer(1);
  } else {
    scaling["type"].refuse("\"linear\", \"dynamic\" or \"llama3\"");
  }
  return rope;
}

DecoderConfig decoder_config(const Argument& c) {
  DecoderConfig config;
  config.vocab_size = c["vocabSize"].integer(1);
  config.hidden_size = c["hiddenSize"].integer(1);
  config.intermediate_size = c["intermediateSize"].integer(1);
  config.num_layers = c["numLayers"].integer(1);
  config.num_heads = c["numHeads"].integer(1);
  config.num_key_value_heads = c["numKeyValueHeads"].integer(1);
  config.head_size = c["headSize"].integer(2);
  config.norm_epsilon = c["normEpsilon"].number();
  config.activation = activation(c["activation"]);
  config.rope = rope_config(c["rope"]);
  for (const Argument& window : c["slidingWindows"].elements()) {
    config.windows.push_back(window.value.IsNull() ? 0 : window.integer(1));
  }
  config.query_key_norm = c["queryKeyNorm"].boolean();
  config.query_key_value_bias = c["queryKeyValueBias"].boolean();
  config.output_bias = c["outputBias"].boolean();
  config.mlp_bias = c["mlpBias"].boolean();
  config.attention_dropout = rate(c["attentionDropout"]);
  config.tie_word_embeddings = c["tieWordEmbeddings"].boolean();
  return config;
}

EncoderNaming naming(const Argument& argument) {
  std::string name = argument.string();
  if (name == "bert") return EncoderNaming::kBert;
  if (name == "roberta") return EncoderNaming::kRoberta;
  if (name == "distilbert") return EncoderNaming::kDistilBert;
  argument.refuse("\"bert\", \"roberta\" or \"distilbert\"");
}

EncoderConfig encoder_config(const Argument& c) {
  EncoderConfig config;
  config.naming = naming(c["naming"]);
  config.vocab_size = c["vocabSize"].integer(1);
  config.hidden_size = c["hiddenSize"].integer(1);
  config.intermediate_size = c["intermediateSize"].integer(1);
  config.num_layers = c["numLayers"].integer(1);
  config.num_heads = c["numHeads"].integer(1);
  config.max_positions = c["maxPositions"].integer(1);
  config.first_position = c["firstPosition"].integer(0);
  config.type_vocab_size = c["typeVocabSize"].integer(0);
  config.norm_epsilon = c["normEpsilon"].number();
  config.activation = activation(c["activation"]);
  config.hidden_dropout = rate(c["hiddenDropout"]);
  config.attention_dropout = rate(c["attentionDropout"]);
  config.similarity_scale = c["similarityScale"].number();
  return config;
}

// A family with its configuration read from JS.
struct Family {
  std::function<std::unique_ptr<Model>(const ModelOptions&, const Weights&)> make;
  std::function<std::vector<std::string>()> linear_modules;
  int64_t vocab_size;
  bool encoder = false;
};

Family family_of(const Argument& options) {
  std::string name = options["family"].string();
  if (name == "t5") {
    T5Config c = t5_config(options["config"]);
    return {[c](const auto& o, const auto& w) { return make_t5(c, o, w); }, [c] { return t5_linear_modules(c); },
            c.vocab_size};
  }
  if (name == "decoder") {
    DecoderConfig c = decoder_config(options["config"]);
    return {[c](const auto& o, const auto& w) { return make_decoder(c, o, w); },
            [c] { return decoder_linear_modules(c); }, c.vocab_size};
  }
  if (name == "encoder") {
    EncoderConfig c = encoder_config(options["config"]);
    return {[c](const auto& o, const auto& w) { return make_encoder(c, o, w); },
            [c] { return encoder_linear_modules(c); }, c.vocab_size, true};
  }
  options["family"].refuse("\"t5\", \"decoder\" or \"encoder\"");
}

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
  if (!options["baseDropout"].missing()) result.base_dropout = rate(options["baseDropout"]);
  Argument trainable = options["trainable"];
  std::string kind = trainable["kind"].string();
  if (kind == "full") {
    result.full = true;
    if (result.base_type != BaseType::kFloat32) {
      options["baseType"].refuse("\"float32\" where every weight trains");
    }
  } else if (kind == "lora") {
    result.adapter_dropout = rate(trainable["dropout"]);
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

Napi::Value linear_modules(const Napi::CallbackInfo& info) {
  Family family = family_of(argument(info, 0, "linearModules: model"));
  std::vector<std::string> modules = family.linear_modules();
  Napi::Array array = Napi::Array::New(info.Env(), modules.size());
  for (uint32_t i = 0; i < modules.size(); ++i) array.Set(i, modules[i]);
  return array;
}

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
            }
            return state;
          },
          [](Napi::Env env, const std::shared_ptr<ModelState>& state) -> Napi::Value {
            return ModelHandle::create(env, state);
          });
}

}  // namespace rkif::addon
