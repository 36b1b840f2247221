#include "addon/model_family.h"

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
  config.dropout_rate = c["dropoutRate"].rate();
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
  config.attention_dropout = c["attentionDropout"].rate();
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
  config.hidden_dropout = c["hiddenDropout"].rate();
  config.attention_dropout = c["attentionDropout"].rate();
  config.similarity_scale = c["similarityScale"].number();
  return config;
}

}  // namespace

Family family_of(const Argument& model) {
  std::string name = model["family"].string();
  if (name == "t5") {
    T5Config c = t5_config(model["config"]);
    return {[c](const auto& o, const auto& w) { return make_t5(c, o, w); }, [c] { return t5_linear_modules(c); },
            c.vocab_size};
  }
  if (name == "decoder") {
    DecoderConfig c = decoder_config(model["config"]);
    return {[c](const auto& o, const auto& w) { return make_decoder(c, o, w); },
            [c] { return decoder_linear_modules(c); }, c.vocab_size};
  }
  if (name == "encoder") {
    EncoderConfig c = encoder_config(model["config"]);
    return {[c](const auto& o, const auto& w) { return make_encoder(c, o, w); },
            [c] { return encoder_linear_modules(c); }, c.vocab_size, true};
  }
  model["family"].refuse("\"t5\", \"decoder\" or \"encoder\"");
}

Napi::Value linear_modules(const Napi::CallbackInfo& info) {
  Family family = family_of(argument(info, 0, "linearModules: model"));
  std::vector<std::string> modules = family.linear_modules();
  Napi::Array array = Napi::Array::New(info.Env(), modules.size());
  for (uint32_t i = 0; i < modules.size(); ++i) array.Set(i, modules[i]);
  return array;
}

}  // namespace rkif::addon
