#include "models_small_decoder.h"

#include <ATen/ops/empty.h>

#include <cmath>

namespace rkif::test {

DecoderConfig small_decoder() {
  DecoderConfig config;
  config.vocab_size = kDecoderVocabulary;
  config.hidden_size = 20;
  config.intermediate_size = 28;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_key_value_heads = 2;
  config.head_size = 6;
  config.rope.theta = 100;
  config.windows = {0, 5};
  config.attention_dropout = 0.2;
  return config;
}

DecoderConfig biased_decoder() {
  DecoderConfig config = small_decoder();
  config.query_key_norm = config.query_key_value_bias = config.output_bias = config.mlp_bias = true;
  config.tie_word_embeddings = true;
  return config;
}

Weights decoder_weights(const DecoderConfig& c) {
  Weights weights;
  uint64_t seed = 50;
  auto add = [&](const std::string& name, std::vector<int64_t> shape, double deviation, double mean = 0) {
    at::Tensor tensor = at::empty(shape, at::kFloat);
    fill_random(tensor, seed++, deviation);
    weights[name] = tensor.add_(mean);
  };
  const int64_t queries = c.num_heads * c.head_size, keys = c.num_key_value_heads * c.head_size;
  auto linear = [&](const std::string& module, int64_t out, int64_t in, bool bias) {
    add(module + ".weight", {out, in}, 1 / std::sqrt(static_cast<double>(in)));
    if (bias) add(module + ".bias", {out}, 0.3);
  };
  add("model.embed_tokens.weight", {c.vocab_size, c.hidden_size}, 1);
  if (!c.tie_word_embeddings) add("lm_head.weight", {c.vocab_size, c.hidden_size}, 0.5);
  add("model.norm.weight", {c.hidden_size}, 0.2, 1);
  for (int64_t i = 0; i < c.num_layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    linear(layer + "self_attn.q_proj", queries, c.hidden_size, c.query_key_value_bias);
    linear(layer + "self_attn.k_proj", keys, c.hidden_size, c.query_key_value_bias);
    linear(layer + "self_attn.v_proj", keys, c.hidden_size, c.query_key_value_bias);
    linear(layer + "self_attn.o_proj", c.hidden_size, queries, c.output_bias);
    linear(layer + "mlp.gate_proj", c.intermediate_size, c.hidden_size, c.mlp_bias);
    linear(layer + "mlp.up_proj", c.intermediate_size, c.hidden_size, c.mlp_bias);
    linear(layer + "mlp.down_proj", c.hidden_size, c.intermediate_size, c.mlp_bias);
    for (const char* norm : {"input_layernorm", "post_attention_layernorm"}) {
      add(layer + norm + ".weight", {c.hidden_size}, 0.2, 1);
    }
    if (!c.query_key_norm) continue;
    add(layer + "self_attn.q_norm.weight", {c.head_size}, 0.2, 1);
    add(layer + "self_attn.k_norm.weight", {c.head_size}, 0.2, 1);
  }
  return weights;
}

ModelOptions decoder_lora(const std::vector<std::string>& targets) {
  return adapter_options(decoder_linear_modules(small_decoder()), targets, 0.1);
}

std::unique_ptr<Model> small_decoder_model(const DecoderConfig& config, const ModelOptions& options) {
  std::unique_ptr<Model> model = make_decoder(config, options, decoder_weights(config));
  if (!options.full) fill_random(model->parameters(), 99, 0.15);
  return model;
}

Batch decoder_batch() {
  Batch batch = small_batch();
  batch.label_lengths = batch.input_lengths;
  batch.labels = batch.input_ids;
  for (size_t i = 0; i < batch.labels.size(); i += 3) batch.labels[i] = kIgnoredLabel;
  return batch;
}

}  // namespace rkif::test
