#include "models_small_t5.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>

#include "kernels/dropout.h"
#include "models/packed.h"

namespace rkif::test {
namespace {

// Sum of four uniform values, centred, with deviation 1.
double bell(uint64_t seed, uint64_t index) {
  double sum = 0;
  for (uint64_t i = 0; i < 4; ++i) sum += static_cast<double>(mix64(mix64(seed) ^ (4 * index + i)) >> 11) * 0x1p-53;
  return (sum - 2) * std::sqrt(3.0);
}

}  // namespace

T5Config small_config(Activation activation, bool gated, bool tied) {
  T5Config config;
  config.vocab_size = 40;
  config.d_model = 24;
  config.d_kv = 6;
  config.d_ff = 32;
  config.num_heads = 3;
  config.num_layers = 2;
  config.num_decoder_layers = 2;
  config.relative_attention_num_buckets = 8;
  config.relative_attention_max_distance = 10;
  config.activation = activation;
  config.gated = gated;
  config.tie_word_embeddings = tied;
  config.scale_decoder_outputs = tied;
  return config;
}

ModelOptions adapter_options(const std::vector<std::string>& modules, const std::vector<std::string>& targets,
                             double dropout) {
  ModelOptions options;
  options.adapter_dropout = dropout;
  for (const std::string& module : modules) {
    bool wanted = std::any_of(targets.begin(), targets.end(),
                              [&](const std::string& target) { return module.ends_with("." + target); });
    if (wanted) options.adapter.push_back({module, 4, 2});
  }
  return options;
}

ModelOptions lora_options(double dropout, const std::vector<std::string>& targets) {
  return adapter_options(t5_linear_modules(small_config()), targets, dropout);
}

ModelOptions full_options() {
  ModelOptions options;
  options.full = true;
  return options;
}

void fill_random(const at::Tensor& tensor, uint64_t seed, double deviation) {
  float* data = tensor.mutable_data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) data[i] = static_cast<float>(deviation * bell(seed, i));
}

at::Tensor random_matrix(int64_t rows, int64_t columns, uint64_t seed, double deviation) {
  at::Tensor matrix = at::empty({rows, columns}, at::kFloat);
  fill_random(matrix, seed, deviation);
  return matrix;
}

Weights random_weights(const T5Config& c) {
  Weights weights;
  uint64_t seed = 1;
  auto add = [&](const std::string& name, std::vector<int64_t> shape, double deviation, double mean = 0) {
    at::Tensor tensor = at::empty(shape, at::kFloat);
    fill_random(tensor, seed++, deviation);
    weights[name] = tensor.add_(mean);
  };
  int64_t inner = c.num_heads * c.d_kv;
  double width = 1 / std::sqrt(static_cast<double>(c.d_model));
  auto attention = [&](const std::string& module) {
    add(module + ".q.weight", {inner, c.d_model}, width);
    add(module + ".k.weight", {inner, c.d_model}, width);
    add(module + ".v.weight", {inner, c.d_model}, width);
    add(module + ".o.weight", {c.d_model, inner}, width);
  };
  add("shared.weight", {c.vocab_size, c.d_model}, 1);
  for (bool decoder : {false, true}) {
    std::string stack = decoder ? "decoder" : "encoder";
    for (int64_t i = 0; i < (decoder ? c.num_decoder_layers : c.num_layers); ++i) {
      std::string layer = stack + ".block." + std::to_string(i) + ".layer.";
      attention(layer + "0.SelfAttention");
      if (i == 0) {
        add(layer + "0.SelfAttention.relative_attention_bias.weight", {c.relative_attention_num_buckets, c.num_heads},
            0.7);
      }
      add(layer + "0.layer_norm.weight", {c.d_model}, 0.2, 1);
      if (decoder) {
        attention(layer + "1.EncDecAttention");
        add(layer + "1.layer_norm.weight", {c.d_model}, 0.2, 1);
      }
      std::string last = layer + (decoder ? "2." : "1.");
      add(last + "DenseReluDense." + (c.gated ? "wi_0" : "wi") + ".weight", {c.d_ff, c.d_model}, width);
      if (c.gated) add(last + "DenseReluDense.wi_1.weight", {c.d_ff, c.d_model}, width);
      add(last + "DenseReluDense.wo.weight", {c.d_model, c.d_ff}, width);
      add(last + "layer_norm.weight", {c.d_model}, 0.2, 1);
    }
    add(stack + ".final_layer_norm.weight", {c.d_model}, 0.2, 1);
  }
  if (!c.tie_word_embeddings) add("lm_head.weight", {c.vocab_size, c.d_model}, width);
  return weights;
}

std::unique_ptr<Model> small_model(const T5Config& config, const ModelOptions& options) {
  std::unique_ptr<Model> model = make_t5(config, options, random_weights(config));
  if (!options.full) fill_random(model->parameters(), 99, 0.15);
  return model;
}

Batch small_batch() {
  Batch batch;
  batch.input_lengths = {7, 1, 13, 4, 9};
  batch.label_lengths = {3, 5, 1, 4, 6};
  batch.record_keys = {11, 5, 700, 3, 42};
  uint64_t counter = 0;
  for (int32_t length : batch.input_lengths) {
    for (int32_t i = 0; i < length; ++i) batch.input_ids.push_back(2 + static_cast<int32_t>(mix64(++counter) % 38));
  }
  for (int32_t length : batch.label_lengths) {
    for (int32_t i = 0; i < length; ++i) batch.labels.push_back(2 + static_cast<int32_t>(mix64(++counter) % 38));
  }
  batch.labels[4] = kIgnoredLabel;
  batch.labels[12] = kIgnoredLabel;
  return batch;
}

Batch part_of(const Batch& batch, const std::vector<int>& records) {
  Sequences inputs(batch.input_lengths), labels(batch.label_lengths);
  Batch part;
  part.candidate_ids = batch.candidate_ids;
  part.candidate_lengths = batch.candidate_lengths;
  for (int r : records) {
    auto input = batch.input_ids.begin() + inputs.starts[r];
    auto label = batch.labels.begin() + labels.starts[r];
    part.input_ids.insert(part.input_ids.end(), input, input + inputs.lengths[r]);
    part.labels.insert(part.labels.end(), label, label + labels.lengths[r]);
    part.input_lengths.push_back(batch.input_lengths[r]);
    part.label_lengths.push_back(batch.label_lengths[r]);
    part.record_keys.push_back(batch.record_keys[r]);
  }
  return part;
}

std::vector<float> values(const at::Tensor& tensor) {
  at::Tensor flat = tensor.to(at::kFloat).contiguous();
  const float* data = flat.const_data_ptr<float>();
  return {data, data + flat.numel()};
}

double relative_difference(const std::vector<float>& actual, const std::vector<float>& expected) {
  double difference = 0, largest = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference = std::max(difference, std::abs(double{actual[i]} - double{expected[i]}));
    largest = std::max(largest, std::abs(double{expected[i]}));
  }
  return actual.size() == expected.size() ? difference / largest : INFINITY;
}

}  // namespace rkif::test
