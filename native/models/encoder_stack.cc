#include "models/encoder_stack.h"

#include <ATen/ops/add.h>

#include <cmath>

#include "models/checkpointed.h"
#include "models/embedding.h"

namespace rkif {
namespace {

// Places of dropout within a layer. The numbers are part of what a saved run means: a site never changes its number.
enum Site : uint32_t {
  kEmbedding = 0,
  kProbabilities = 1,
  kAttentionOutput = 2,
  kFeedForwardOutput = 3,
  // Adapters' inputs.
  kQ = 32,
  kK = 33,
  kV = 34,
  kO = 35,
  kIn = 36,
  kOut = 37,
};

// What the parts of a layer are called, below the layer's own path.
struct LayerNames {
  const char* layers;
  const char *q, *k, *v, *o, *attention_norm, *in, *out, *output_norm;
};

const LayerNames& names_of(EncoderNaming naming) {
  static const LayerNames bert = {"encoder.layer.",       "attention.self.query",   "attention.self.key",
                                  "attention.self.value", "attention.output.dense", "attention.output.LayerNorm",
                                  "intermediate.dense",   "output.dense",           "output.LayerNorm"};
  static const LayerNames distilbert = {"transformer.layer.", "attention.q_lin",   "attention.k_lin",
                                        "attention.v_lin",    "attention.out_lin", "sa_layer_norm",
                                        "ffn.lin1",           "ffn.lin2",          "output_layer_norm"};
  return naming == EncoderNaming::kDistilBert ? distilbert : bert;
}

}  // namespace

EncoderStack::EncoderStack(const EncoderConfig& config) : config_(config), blocks_(config.num_layers) {}

void EncoderStack::list(SlotList& slots) {
  const EncoderConfig& c = config_;
  const int64_t width = c.hidden_size;
  auto norm = [&](const std::string& module, LayerNorm& layer) {
    slots.small(module + ".weight", {width}, layer.weight);
    slots.small(module + ".bias", {width}, layer.bias);
  };
  auto positions = [&] { slots.small("embeddings.position_embeddings.weight", {c.max_positions, width}, positions_); };

  slots.add({"embeddings.word_embeddings.weight", {c.vocab_size, width}, &words_});
  if (c.naming != EncoderNaming::kRoberta) positions();
  if (c.type_vocab_size > 0) {
    slots.small("embeddings.token_type_embeddings.weight", {c.type_vocab_size, width}, types_);
  }
  norm("embeddings.LayerNorm", embedding_norm_);
  if (c.naming == EncoderNaming::kRoberta) positions();

  const LayerNames& names = names_of(c.naming);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    Block& block = blocks_[i];
    const std::string layer = names.layers + std::to_string(i) + ".";
    slots.linear(layer + names.q, width, width, block.q, true);
    slots.linear(layer + names.k, width, width, block.k, true);
    slots.linear(layer + names.v, width, width, block.v, true);
    slots.linear(layer + names.o, width, width, block.o, true);
    norm(layer + names.attention_norm, block.attention_norm);
    slots.linear(layer + names.in, c.intermediate_size, width, block.in, true);
    slots.linear(layer + names.out, width, c.intermediate_size, block.out, true);
    norm(layer + names.output_norm, block.output_norm);
  }
}

Dropout EncoderStack::place(const EncoderPass& pass, size_t layer, uint32_t site) const {
  return dropout_at(pass.hidden_rate, pass.counters, site_number(layer, site), pass.rows);
}

Dropout EncoderStack::adapter_place(const EncoderPass& pass, size_t layer, uint32_t site) const {
  return dropout_at(pass.adapter_rate, pass.counters, site_number(layer, site), pass.rows);
}

at::Tensor EncoderStack::norm(const at::Tensor& x, const LayerNorm& norm) const {
  return layer_norm(x, norm, config_.norm_epsilon);
}

at::Tensor EncoderStack::embedded(const at::Tensor& ids, const at::Tensor& rows, const EncoderPass& pass) const {
  at::Tensor x = embed(ids, words_);
  if (types_.defined()) x = at::add(x, types_.narrow(0, 0, 1));
  x = at::add(x, embed(rows, positions_));
  return dropout(norm(x, embedding_norm_), place(pass, 0, kEmbedding));
}

at::Tensor EncoderStack::attention(const at::Tensor& x, const Spans& spans, const EncoderPass& pass,
                                   size_t layer) const {
  const Block& block = blocks_[layer];
  const std::vector<at::Tensor> projected = linear_group(x, {{&block.q, adapter_place(pass, layer, kQ)},
                                                             {&block.k, adapter_place(pass, layer, kK)},
                                                             {&block.v, adapter_place(pass, layer, kV)}});
  AttentionPlace place =
      attention_place(block.q, config_.num_heads, spans,
                      attention_dropout_at(pass.attention_rate, pass.counters, site_number(layer, kProbabilities)));
  place.scale =
      static_cast<float>(1 / std::sqrt(static_cast<double>(config_.hidden_size) / static_cast<double>(place.heads)));
  return linear(attend(projected[0], projected[1], projected[2], {}, place), block.o, adapter_place(pass, layer, kO));
}

at::Tensor EncoderStack::feed_forward(const at::Tensor& x, const EncoderPass& pass, size_t layer) const {
  const Block& block = blocks_[layer];
  at::Tensor inside = activate(config_.activation, linear(x, block.in, adapter_place(pass, layer, kIn)), {}, Dropout{});
  return linear(inside, block.out, adapter_place(pass, layer, kOut));
}

at::Tensor EncoderStack::run(const std::vector<int32_t>& ids, const Sequences& texts, const std::vector<uint32_t>& keys,
                             const EncoderPass& pass) const {
  // DistilBERT's attention has dropout on its probabilities only.
  const bool attention_output = config_.naming != EncoderNaming::kDistilBert;
  const Spans spans = attention_spans(texts, texts, {}, keys);
  std::vector<int32_t> rows = positions_of(texts);
  for (int32_t& row : rows) row += static_cast<int32_t>(config_.first_position);
  Upload upload(words_);
  at::Tensor of_words, of_positions;
  upload.add(ids, of_words);
  upload.add(rows, of_positions);
  spans->join(upload);
  if (pass.rows) pass.rows->join(upload);
  upload.send();
  at::Tensor x = embedded(of_words, of_positions, pass);
  for (size_t layer = 0; layer < blocks_.size(); ++layer) {
    auto block = [=, this](const PartInputs& inputs) {
      const Block& weights = blocks_[layer];
      const at::Tensor& before = inputs[0];
      Dropout after_attention = attention_output ? place(pass, layer, kAttentionOutput) : Dropout{};
      at::Tensor middle = norm(add_dropped(before, attention(before, spans, pass, layer), after_attention, pass.abort),
                               weights.attention_norm);
      Dropout after_feed_forward = place(pass, layer, kFeedForwardOutput);
      return norm(add_dropped(middle, feed_forward(middle, pass, layer), after_feed_forward, pass.abort),
                  weights.output_norm);
    };
    x = checkpointed(pass.checkpointing, block, {x});
  }
  return x;
}

}  // namespace rkif
