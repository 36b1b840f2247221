#include "models_small_encoder.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>

#include "kernels/attention.h"
#include "models/packed.h"
#include "models_small_t5.h"

namespace rkif::test {
namespace {

using Row = std::vector<double>;
using Rows = std::vector<Row>;

// BERT's tensors without a layer's number, with their shapes.
struct Part {
  std::string name;
  std::vector<int64_t> shape;
};

std::vector<Part> layer_parts(const EncoderConfig& c) {
  const int64_t width = c.hidden_size, inside = c.intermediate_size;
  return {{"attention.self.query.weight", {width, width}},
          {"attention.self.query.bias", {width}},
          {"attention.self.key.weight", {width, width}},
          {"attention.self.key.bias", {width}},
          {"attention.self.value.weight", {width, width}},
          {"attention.self.value.bias", {width}},
          {"attention.output.dense.weight", {width, width}},
          {"attention.output.dense.bias", {width}},
          {"attention.output.LayerNorm.weight", {width}},
          {"attention.output.LayerNorm.bias", {width}},
          {"intermediate.dense.weight", {inside, width}},
          {"intermediate.dense.bias", {inside}},
          {"output.dense.weight", {width, inside}},
          {"output.dense.bias", {width}},
          {"output.LayerNorm.weight", {width}},
          {"output.LayerNorm.bias", {width}}};
}

std::string layer_path(size_t layer) { return "encoder.layer." + std::to_string(layer) + "."; }

void replace(std::string& text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  if (at != std::string::npos) text.replace(at, from.size(), to);
}

std::vector<int32_t> text_of(const std::vector<int32_t>& ids, const Sequences& texts, int64_t i) {
  return {ids.begin() + texts.starts[i], ids.begin() + texts.starts[i] + texts.lengths[i]};
}

// Layer numbers from bit 8 and the place below: the numbers that saved runs depend on.
uint32_t site(size_t layer, uint32_t place) { return static_cast<uint32_t>(layer) << 8 | place; }

// One text's way through the model.
class Pass {
 public:
  Pass(const EncoderReference& reference, uint32_t key) : of_(reference), key_(key) {}

  Rows states(const std::vector<int32_t>& ids) const {
    const EncoderConfig& c = of_.config;
    Rows x;
    for (size_t i = 0; i < ids.size(); ++i) {
      Row row(c.hidden_size);
      for (int64_t j = 0; j < c.hidden_size; ++j) {
        row[j] = weight("embeddings.word_embeddings.weight", ids[i], j) +
                 weight("embeddings.position_embeddings.weight", c.first_position + static_cast<int64_t>(i), j);
        if (c.type_vocab_size > 0) row[j] += weight("embeddings.token_type_embeddings.weight", 0, j);
      }
      x.push_back(row);
    }
    x = dropped(normed(x, "embeddings.LayerNorm"), site(0, 0));
    for (int64_t layer = 0; layer < c.num_layers; ++layer) x = through_layer(x, layer);
    return x;
  }

 private:
  double weight(const std::string& name, int64_t row, int64_t column = -1) const {
    const at::Tensor& tensor = of_.weights.at(encoder_name(of_.config.naming, name));
    return tensor.const_data_ptr<float>()[column < 0 ? row : row * tensor.size(1) + column];
  }

  Rows linear(const Rows& x, const std::string& module) const {
    const int64_t out = of_.weights.at(encoder_name(of_.config.naming, module + ".bias")).size(0);
    Rows y;
    for (const Row& in : x) {
      Row row(out);
      for (int64_t j = 0; j < out; ++j) {
        row[j] = weight(module + ".bias", j);
        for (size_t k = 0; k < in.size(); ++k) row[j] += weight(module + ".weight", j, static_cast<int64_t>(k)) * in[k];
      }
      y.push_back(row);
    }
    return y;
  }

  Rows normed(Rows x, const std::string& module) const {
    for (Row& row : x) {
      double mean = 0, variance = 0;
      for (double value : row) mean += value / static_cast<double>(row.size());
      for (double value : row) variance += (value - mean) * (value - mean) / static_cast<double>(row.size());
      for (size_t j = 0; j < row.size(); ++j) {
        row[j] = weight(module + ".weight", static_cast<int64_t>(j)) * (row[j] - mean) /
                     std::sqrt(variance + of_.config.norm_epsilon) +
                 weight(module + ".bias", static_cast<int64_t>(j));
      }
    }
    return x;
  }

  double kept(DropoutRow row, size_t column, double rate) const {
    return dropout_keeps(row, static_cast<uint32_t>(column), dropout_threshold(rate)) ? 1 / (1 - rate) : 0;
  }

  Rows dropped(Rows x, uint32_t number) const {
    if (!of_.dropout) return x;
    for (size_t i = 0; i < x.size(); ++i) {
      const DropoutRow row = dropout_row(dropout_site_key(of_.counters, number), key_, i);
      for (size_t j = 0; j < x[i].size(); ++j) x[i][j] *= kept(row, j, of_.config.hidden_dropout);
    }
    return x;
  }

  static Rows sum(Rows a, const Rows& b) {
    for (size_t i = 0; i < a.size(); ++i) {
      for (size_t j = 0; j < a[i].size(); ++j) a[i][j] += b[i][j];
    }
    return a;
  }

  Rows attention(const Rows& x, size_t layer) const {
    const std::string self = layer_path(layer) + "attention.self.";
    const Rows q = linear(x, self + "query"), k = linear(x, self + "key"), v = linear(x, self + "value");
    const size_t heads = of_.config.num_heads, size = of_.config.hidden_size / heads;
    Rows mixed(x.size(), Row(x[0].size(), 0.0));
    for (size_t head = 0; head < heads; ++head) {
      for (size_t i = 0; i < x.size(); ++i) {
        Row p(x.size());
        double total = 0;
        for (size_t j = 0; j < x.size(); ++j) {
          double score = 0;
          for (size_t d = head * size; d < (head + 1) * size; ++d) score += q[i][d] * k[j][d];
          p[j] = std::exp(score / std::sqrt(static_cast<double>(size)));
          total += p[j];
        }
        const DropoutRow row = attention_dropout_row(dropout_site_key(of_.counters, site(layer, 1)), key_,
                                                     static_cast<uint32_t>(head), static_cast<uint32_t>(i));
        for (size_t j = 0; j < x.size(); ++j) {
          p[j] /= total;
          if (of_.dropout) p[j] *= kept(row, j, of_.config.attention_dropout);
          for (size_t d = head * size; d < (head + 1) * size; ++d) mixed[i][d] += p[j] * v[j][d];
        }
      }
    }
    return linear(mixed, layer_path(layer) + "attention.output.dense");
  }

  Rows through_layer(const Rows& x, size_t layer) const {
    const std::string path = layer_path(layer);
    Rows out = attention(x, layer);
    if (of_.config.naming != EncoderNaming::kDistilBert) out = dropped(out, site(layer, 2));
    const Rows y = normed(sum(x, out), path + "attention.output.LayerNorm");
    Rows inside = linear(y, path + "intermediate.dense");
    for (Row& row : inside) {
      for (double& value : row) value *= 0.5 * (1 + std::erf(value / std::sqrt(2.0)));
    }
    return normed(sum(y, dropped(linear(inside, path + "output.dense"), site(layer, 3))), path + "output.LayerNorm");
  }

  const EncoderReference& of_;
  const uint32_t key_;
};

}  // namespace

EncoderConfig small_encoder(EncoderNaming naming) {
  EncoderConfig config;
  config.naming = naming;
  config.vocab_size = 40;
  config.hidden_size = 24;
  config.intermediate_size = 32;
  config.num_layers = 2;
  config.num_heads = 3;
  config.first_position = naming == EncoderNaming::kRoberta ? 2 : 0;
  config.max_positions = 14 + config.first_position;
  config.type_vocab_size = naming == EncoderNaming::kDistilBert ? 0 : naming == EncoderNaming::kRoberta ? 1 : 2;
  config.norm_epsilon = naming == EncoderNaming::kRoberta ? 1e-5 : 1e-12;
  config.hidden_dropout = 0.1;
  config.attention_dropout = 0.2;
  config.similarity_scale = 5;
  return config;
}

std::string encoder_name(EncoderNaming naming, const std::string& bert_name) {
  std::string name = bert_name;
  if (naming != EncoderNaming::kDistilBert) return name;
  replace(name, "encoder.layer", "transformer.layer");
  replace(name, "attention.self.query", "attention.q_lin");
  replace(name, "attention.self.key", "attention.k_lin");
  replace(name, "attention.self.value", "attention.v_lin");
  replace(name, "attention.output.dense", "attention.out_lin");
  replace(name, "attention.output.LayerNorm", "sa_layer_norm");
  replace(name, "intermediate.dense", "ffn.lin1");
  replace(name, "output.dense", "ffn.lin2");
  replace(name, ".output.LayerNorm", ".output_layer_norm");
  return name;
}

Weights encoder_weights(const EncoderConfig& c) {
  std::vector<Part> parts = {{"embeddings.word_embeddings.weight", {c.vocab_size, c.hidden_size}},
                             {"embeddings.position_embeddings.weight", {c.max_positions, c.hidden_size}},
                             {"embeddings.LayerNorm.weight", {c.hidden_size}},
                             {"embeddings.LayerNorm.bias", {c.hidden_size}}};
  if (c.type_vocab_size > 0) {
    parts.push_back({"embeddings.token_type_embeddings.weight", {c.type_vocab_size, c.hidden_size}});
  }
  for (int64_t i = 0; i < c.num_layers; ++i) {
    for (const Part& part : layer_parts(c)) parts.push_back({layer_path(i) + part.name, part.shape});
  }
  Weights weights;
  uint64_t seed = 1;
  for (const Part& part : parts) {
    at::Tensor tensor = at::empty(part.shape, at::kFloat);
    const bool matrix = part.shape.size() == 2, table = part.name.starts_with("embeddings.") && matrix;
    fill_random(tensor, seed++, table ? 1 : matrix ? 1 / std::sqrt(static_cast<double>(part.shape[1])) : 0.2);
    if (part.name.ends_with("LayerNorm.weight")) tensor.add_(1);
    weights[encoder_name(c.naming, part.name)] = tensor;
  }
  return weights;
}

std::unique_ptr<Model> small_encoder_model(const EncoderConfig& config, const ModelOptions& options) {
  std::unique_ptr<Model> model = make_encoder(config, options, encoder_weights(config));
  if (!options.full) fill_random(model->parameters(), 99, 0.15);
  return model;
}

Batch encoder_batch() {
  Batch batch;
  batch.input_lengths = {7, 1, 13, 4, 9};
  batch.labels = {2, 0, kIgnoredLabel, 1, 2};
  batch.label_lengths = {1, 1, 1, 1, 1};
  batch.record_keys = {11, 5, 700, 3, 42};
  batch.candidate_lengths = {3, 1, 5};
  uint64_t counter = 0;
  auto fill = [&](const std::vector<int32_t>& lengths, std::vector<int32_t>& ids) {
    for (int32_t length : lengths) {
      for (int32_t i = 0; i < length; ++i) ids.push_back(static_cast<int32_t>(mix64(++counter) % 40));
    }
  };
  fill(batch.input_lengths, batch.input_ids);
  fill(batch.candidate_lengths, batch.candidate_ids);
  return batch;
}

std::vector<double> EncoderReference::embed(const std::vector<int32_t>& ids, uint32_t key) const {
  const Rows states = Pass(*this, key).states(ids);
  Row mean(config.hidden_size, 0.0);
  for (const Row& row : states) {
    for (size_t j = 0; j < row.size(); ++j) mean[j] += row[j] / static_cast<double>(states.size());
  }
  double squares = 0;
  for (double value : mean) squares += value * value;
  for (double& value : mean) value /= std::sqrt(squares);
  return mean;
}

std::vector<std::vector<double>> EncoderReference::logits(const Batch& batch) const {
  const Sequences inputs(batch.input_lengths), candidates(batch.candidate_lengths);
  Rows result;
  for (int64_t i = 0; i < inputs.count(); ++i) {
    const Row text = embed(text_of(batch.input_ids, inputs, i), batch.record_keys[i]);
    Row row;
    for (int64_t c = 0; c < candidates.count(); ++c) {
      const Row candidate = embed(text_of(batch.candidate_ids, candidates, c), 0x80000000u + static_cast<uint32_t>(c));
      double cosine = 0;
      for (size_t j = 0; j < text.size(); ++j) cosine += text[j] * candidate[j];
      row.push_back(config.similarity_scale * cosine);
    }
    result.push_back(row);
  }
  return result;
}

std::vector<double> EncoderReference::losses(const Batch& batch) const {
  const Rows scores = logits(batch);
  std::vector<double> result;
  for (size_t i = 0; i < scores.size(); ++i) {
    double total = 0;
    for (double score : scores[i]) total += std::exp(score);
    const int32_t label = batch.labels[i];
    result.push_back(label == kIgnoredLabel ? 0 : std::log(total) - scores[i][label]);
  }
  return result;
}

}  // namespace rkif::test
