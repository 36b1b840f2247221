#include "models/t5.h"

#include <ATen/ops/index_select.h>

#include <cmath>

#include "models/absorbed_attention.h"
#include "models/config_check.h"
#include "models/t5_model.h"

namespace rkif {
namespace {

const T5Config& checked(const T5Config& c, const ModelOptions& options) {
  const ConfigCheck check("T5");
  check.positive("vocab_size", c.vocab_size);
  check.positive("d_model", c.d_model);
  check.positive("d_kv", c.d_kv);
  check.positive("d_ff", c.d_ff);
  check.positive("num_heads", c.num_heads);
  check.positive("num_layers", c.num_layers);
  check.positive("num_decoder_layers", c.num_decoder_layers);
  auto token = [&](const char* name, int64_t id) {
    if (id < 0 || id >= c.vocab_size) {
      check.refuse(std::string(name) + " is " + std::to_string(id) +
                   ", expected a token below the vocabulary's size of " + std::to_string(c.vocab_size));
    }
  };
  token("pad_token_id", c.pad_token_id);
  token("decoder_start_token_id", c.decoder_start_token_id);
  check_rate("T5: the dropout rate", options.base_dropout < 0 ? c.dropout_rate : options.base_dropout);
  return c;
}

}  // namespace

std::vector<std::string> t5_linear_modules(const T5Config& config) {
  SlotList slots;
  T5Stack(config, false).list(slots);
  T5Stack(config, true).list(slots);
  return slots.linear_modules();
}

std::unique_ptr<Model> make_t5(const T5Config& config, const ModelOptions& options, const Weights& weights) {
  return std::make_unique<T5>(config, options, weights);
}

T5::T5(const T5Config& config, const ModelOptions& options, const Weights& weights)
    : LanguageModel(options, config.vocab_size),
      config_(checked(config, options)),
      encoder_(config_, false),
      decoder_(config_, true) {
  load(weights);
}

void T5::load(const Weights& weights) {
  static const char* kShared = "shared.weight";
  static const char* kHead = "lm_head.weight";
  WeightReader reader(weights);
  // A file may hold the tied matrix under any of its names.
  std::vector<std::string> names = {kShared, "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"};
  if (config_.tie_word_embeddings) names.push_back(kHead);
  std::string embedding_name = kShared;
  for (const std::string& name : names) {
    if (!reader.has(name)) continue;
    embedding_name = name;
    break;
  }

  std::vector<int64_t> vocabulary_shape = {config_.vocab_size, config_.d_model};
  SlotList slots;
  // The matrix that makes the logits stays fp32: rounded to 16 bits, the best of them tie.
  slots.add({kShared, vocabulary_shape, &embedding_, nullptr, config_.tie_word_embeddings, embedding_name});
  encoder_.list(slots);
  decoder_.list(slots);
  if (!config_.tie_word_embeddings) slots.small(kHead, vocabulary_shape, head_.weight);

  install(slots, reader);
  for (const std::string& name : names) {
    if (name == embedding_name || !reader.has(embedding_name)) continue;
    reader.expect_copy(name, embedding_name, weights.at(embedding_name));
  }
  // Written by the first T5 releases; no computation ever read it.
  reader.ignore("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight");
  reader.finish("T5");

  if (config_.tie_word_embeddings) head_.weight = embedding_;
}

void T5::check(const Batch& batch) const {
  check_prompts(batch.input_ids, batch.input_lengths);
  check_packed("labels", batch.labels, batch.label_lengths, 0, config_.vocab_size, Labels::kYes);
  check_records(batch);
}

T5::Targets T5::targets_of(const Batch& batch) const {
  Targets targets;
  int64_t row = 0;
  for (size_t record = 0; record < batch.label_lengths.size(); ++record) {
    for (int32_t i = 0; i < batch.label_lengths[record]; ++i, ++row) {
      if (batch.labels[row] != kIgnoredLabel) targets.add(row, batch.labels[row], record);
    }
  }
  return targets;
}

std::vector<int32_t> T5::decoder_ids(const std::vector<int32_t>& labels, const Sequences& sequences) const {
  std::vector<int32_t> ids(labels.size());
  for (int64_t i = 0; i < sequences.count(); ++i) {
    for (int64_t position = 0; position < sequences.lengths[i]; ++position) {
      int64_t row = sequences.starts[i] + position;
      int64_t id = position == 0 ? config_.decoder_start_token_id : labels[row - 1];
      ids[row] = static_cast<int32_t>(id == kIgnoredLabel ? config_.pad_token_id : id);
    }
  }
  return ids;
}

void T5::place_inputs(const std::vector<int32_t>& ids, const Sequences& sequences, const std::vector<uint32_t>& records,
                      Upload& upload, T5EncoderInput& into) const {
  upload.add(ids, into.ids);
  into.spans = attention_spans(sequences, sequences, {}, records);
  into.spans->join(upload);
  into.bias = encoder_.bias(sequences.longest);
}

at::Tensor T5::states(const Batch& batch, const std::vector<int32_t>* rows, const AccumulateOptions& options,
                      Upload& upload) const {
  // No labels, no rows.
  if (batch.labels.empty()) return embedding_.narrow(0, 0, 0).to(at::kFloat);
  Sequences inputs(batch.input_lengths), targets(batch.label_lengths);
  T5Pass pass;
  pass.abort = options.abort;
  pass.checkpointing = checkpointing();
  if (options.dropout) {
    pass.rate = base_rate(config_.dropout_rate);
    pass.adapter_rate = adapter_rate();
    pass.counters = options.counters;
    pass.encoder_rows = std::make_shared<RowPlaces>(inputs, batch.record_keys);
    pass.decoder_rows = std::make_shared<RowPlaces>(targets, batch.record_keys);
    pass.encoder_rows->join(upload);
    pass.decoder_rows->join(upload);
  }
  T5EncoderInput read;
  place_inputs(batch.input_ids, inputs, batch.record_keys, upload, read);
  T5DecoderInput written;
  upload.add(decoder_ids(batch.labels, targets), written.ids);
  written.self = attention_spans(targets, targets, {}, batch.record_keys);
  written.cross = attention_spans(targets, inputs, {}, batch.record_keys);
  written.absorbs_in_training = absorbing_pays(targets, inputs, config_.d_kv, config_.d_model, embedding_);
  written.bias = decoder_.bias(targets.longest);
  written.self->join(upload);
  written.cross->join(upload);
  at::Tensor chosen;
  if (rows) upload.add(*rows, chosen);
  upload.send();
  at::Tensor states = decoder_.decode(written, encoder_.encode(read, embedding_, pass), {}, embedding_, pass);
  return rows ? at::index_select(states, 0, chosen) : states;
}

VocabularyHead T5::head() const {
  return {head_, config_.scale_decoder_outputs ? 1 / std::sqrt(static_cast<double>(config_.d_model)) : 1};
}

}  // namespace rkif
