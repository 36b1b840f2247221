#include "models/t5.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mul.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <numeric>
#include <stdexcept>

#include "models/loss.h"
#include "models/t5_model.h"

namespace rkif {
namespace {

void check(const T5Config& c, const ModelOptions& options) {
  auto positive = [](const char* name, int64_t value) {
    if (value < 1) {
      throw std::invalid_argument(std::string("T5 configuration: ") + name + " is " + std::to_string(value) +
                                  ", expected at least 1");
    }
  };
  positive("vocab_size", c.vocab_size);
  positive("d_model", c.d_model);
  positive("d_kv", c.d_kv);
  positive("d_ff", c.d_ff);
  positive("num_heads", c.num_heads);
  positive("num_layers", c.num_layers);
  positive("num_decoder_layers", c.num_decoder_layers);
  auto token = [&](const char* name, int64_t id) {
    if (id < 0 || id >= c.vocab_size) {
      throw std::invalid_argument(std::string("T5 configuration: ") + name + " is " + std::to_string(id) +
                                  ", expected a token below the vocabulary's size of " + std::to_string(c.vocab_size));
    }
  };
  token("pad_token_id", c.pad_token_id);
  token("decoder_start_token_id", c.decoder_start_token_id);
  token("eos_token_id", c.eos_token_id);
  double rate = options.base_dropout < 0 ? c.dropout_rate : options.base_dropout;
  if (!(rate >= 0 && rate < 1)) {
    throw std::invalid_argument("T5: the dropout rate is " + std::to_string(rate) + ", expected 0 <= rate < 1");
  }
}

const T5Config& checked(const T5Config& config, const ModelOptions& options) {
  check(config, options);
  return config;
}

}  // namespace

std::unique_ptr<Model> make_t5(const T5Config& config, const ModelOptions& options, const Weights& weights) {
  return std::make_unique<T5>(config, options, weights);
}

T5::T5(const T5Config& config, const ModelOptions& options, const Weights& weights)
    : config_(checked(config, options)), options_(options), encoder_(config_, false), decoder_(config_, true) {
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
  std::vector<ParameterSlot> slots;
  // The matrix that makes the logits stays fp32: rounded to 16 bits, the best of them tie.
  slots.push_back({"shared", vocabulary_shape, &embedding_, nullptr, config_.tie_word_embeddings, embedding_name});
  encoder_.list(slots);
  decoder_.list(slots);
  if (!config_.tie_word_embeddings) slots.push_back({"lm_head", vocabulary_shape, &head_.weight, nullptr, true});

  FlatParameters flat = install(slots, options_, reader);
  for (const std::string& name : names) {
    if (name == embedding_name || !reader.has(embedding_name)) continue;
    reader.expect_copy(name, embedding_name, weights.at(embedding_name));
  }
  // Written by the first T5 releases; no computation ever read it.
  reader.ignore("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight");
  reader.finish("T5");

  if (config_.tie_word_embeddings) head_.weight = embedding_;
  for (const ParameterSlot& slot : slots) {
    if (slot.linear && slot.linear->adapted()) adapted_.push_back(slot.linear);
  }
  layout_ = flat.layout();
  parameters_ = flat.parameters();
  gradients_ = flat.gradients();
}

void T5::check_prompts(const std::vector<int32_t>& ids, const std::vector<int32_t>& lengths) const {
  check_packed("input ids", ids, lengths, 1, config_.vocab_size, Labels::kNo);
}

void T5::check(const Batch& batch) const {
  check_prompts(batch.input_ids, batch.input_lengths);
  check_packed("labels", batch.labels, batch.label_lengths, 0, config_.vocab_size, Labels::kYes);
  if (batch.label_lengths.size() != batch.input_lengths.size() ||
      batch.record_keys.size() != batch.input_lengths.size()) {
    throw std::invalid_argument("batch: " + std::to_string(batch.input_lengths.size()) + " inputs, " +
                                std::to_string(batch.label_lengths.size()) + " label sequences and " +
                                std::to_string(batch.record_keys.size()) + " record keys, expected as many of each");
  }
}

T5::Targets T5::targets_of(const Batch& batch) {
  Targets targets;
  size_t row = 0;
  for (size_t record = 0; record < batch.label_lengths.size(); ++record) {
    for (int32_t i = 0; i < batch.label_lengths[record]; ++i, ++row) {
      if (batch.labels[row] == kIgnoredLabel) continue;
      targets.rows.push_back(static_cast<int32_t>(row));
      targets.labels.push_back(batch.labels[row]);
      targets.records.push_back(static_cast<int32_t>(record));
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

at::Tensor T5::decoder_states(const Batch& batch, const T5Pass& pass, const Sequences& inputs,
                              const Sequences& targets) const {
  at::Tensor states = encoder_.encode(index_tensor(batch.input_ids), inputs, batch.record_keys, embedding_, pass);
  DecoderInput input{index_tensor(decoder_ids(batch.labels, targets)),
                     attention_spans(targets, targets, {}, batch.record_keys),
                     attention_spans(targets, inputs, {}, batch.record_keys), decoder_.bias(targets.longest)};
  return decoder_.decode(input, states, {}, embedding_, pass);
}

at::Tensor T5::head(const at::Tensor& states) const {
  if (!config_.scale_decoder_outputs) return linear(states, head_);
  return linear(at::mul(states, 1 / std::sqrt(static_cast<double>(config_.d_model))), head_);
}

LossReport T5::accumulate(const Batch& batch, const AccumulateOptions& options) {
  if (merged_)
    throw std::logic_error("the adapter is merged into the base weights: unmerge it before training goes on");
  check(batch);
  if (!(options.divisor > 0)) throw std::invalid_argument("the loss divisor must be above 0");
  Targets targets = targets_of(batch);
  LossReport report;
  report.label_tokens = static_cast<int64_t>(targets.labels.size());
  if (targets.labels.empty()) return report;

  Sequences inputs(batch.input_lengths), labels(batch.label_lengths);
  T5Pass pass;
  pass.abort = options.abort;
  if (options.dropout) {
    pass.rate = options_.base_dropout < 0 ? config_.dropout_rate : options_.base_dropout;
    pass.adapter_rate = options_.full ? 0 : options_.lora.dropout;
    pass.counters = options.counters;
    pass.encoder_rows = std::make_shared<RowPlaces>(inputs, batch.record_keys);
    pass.decoder_rows = std::make_shared<RowPlaces>(labels, batch.record_keys);
  }
  at::AutoGradMode with_graph(true);
  at::Tensor states = decoder_states(batch, pass, inputs, labels);
  if (report.label_tokens < labels.tokens) states = at::index_select(states, 0, index_tensor(targets.rows));
  at::Tensor scores = head(states);
  // Nothing keeps the logits for the backward pass, so their gradient takes their place.
  at::Tensor gradient = scores.detach();
  std::vector<double> losses =
      cross_entropy_into_gradient(gradient, targets.labels, options.loss_scale / options.divisor);
  report.loss_sum = std::accumulate(losses.begin(), losses.end(), 0.0);
  torch::autograd::backward({scores}, {gradient});
  return report;
}

std::vector<double> T5::losses_of(const at::Tensor& states, const std::vector<int32_t>& labels,
                                  const AbortFlag& abort) const {
  constexpr int64_t kLogits = int64_t{1} << 24;
  int64_t rows = std::max<int64_t>(64, kLogits / config_.vocab_size);
  std::vector<double> losses;
  for (int64_t start = 0; start < states.size(0); start += rows) {
    check_abort(abort);
    int64_t count = std::min(rows, states.size(0) - start);
    std::vector<int32_t> chunk(labels.begin() + start, labels.begin() + start + count);
    std::vector<double> part = cross_entropy(head(states.narrow(0, start, count)), chunk);
    losses.insert(losses.end(), part.begin(), part.end());
  }
  return losses;
}

std::vector<double> T5::loss(const Batch& batch, const AbortFlag& abort) {
  c10::InferenceMode inference;
  check(batch);
  Targets targets = targets_of(batch);
  std::vector<double> sums(batch.input_lengths.size(), 0.0);
  if (targets.labels.empty()) return sums;
  T5Pass pass;
  pass.abort = abort;
  at::Tensor states = decoder_states(batch, pass, Sequences(batch.input_lengths), Sequences(batch.label_lengths));
  std::vector<double> losses =
      losses_of(at::index_select(states, 0, index_tensor(targets.rows)), targets.labels, abort);
  for (size_t i = 0; i < losses.size(); ++i) sums[targets.records[i]] += losses[i];
  return sums;
}

at::Tensor T5::logits(const Batch& batch) {
  c10::InferenceMode inference;
  check(batch);
  if (batch.labels.empty()) return head(at::Tensor(embedding_.narrow(0, 0, 0).to(at::kFloat)));
  return head(decoder_states(batch, {}, Sequences(batch.input_lengths), Sequences(batch.label_lengths)));
}

void T5::merge_adapter() {
  if (options_.full) throw std::logic_error("there is no adapter to merge: every weight of this model trains");
  if (merged_) throw std::logic_error("the adapter is merged already");
  size_t done = 0;
  try {
    for (; done < adapted_.size(); ++done) adapted_[done]->merge();
  } catch (...) {
    // Out of memory half-way: all layers or none.
    while (done > 0) adapted_[--done]->unmerge();
    throw;
  }
  merged_ = true;
}

void T5::unmerge_adapter() {
  if (!merged_) throw std::logic_error("there is no merged adapter to take out of the base weights");
  for (Linear* layer : adapted_) layer->unmerge();
  merged_ = false;
}

}  // namespace rkif
