// Embedding texts, and the cross entropy of their similarity to candidates.
#include "models/encoder_model.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mul.h>
#include <c10/core/InferenceMode.h>

#include <stdexcept>

#include "models/loss.h"
#include "models/pooling.h"

namespace rkif {
namespace {

// Candidates' dropout keys are their indices with this bit, records' are below it: a candidate's masks are the same in
// every part of a batch, whose gradients therefore add up to the batch's.
constexpr uint32_t kCandidate = 0x80000000u;

std::vector<int32_t> joined(const std::vector<int32_t>& first, const std::vector<int32_t>& second) {
  std::vector<int32_t> all = first;
  all.insert(all.end(), second.begin(), second.end());
  return all;
}

}  // namespace

void Encoder::check_texts(const std::string& what, const std::vector<int32_t>& ids,
                          const std::vector<int32_t>& lengths) const {
  check_packed(what, ids, lengths, 1, config_.vocab_size, Labels::kNo);
  const int64_t room = config_.max_positions - config_.first_position;
  for (size_t i = 0; i < lengths.size(); ++i) {
    if (lengths[i] > room) {
      throw std::invalid_argument(what + ": text " + std::to_string(i) + " has " + std::to_string(lengths[i]) +
                                  " tokens, but this model has positions for " + std::to_string(room) +
                                  "; cut longer texts to that many tokens");
    }
  }
}

void Encoder::check(const Batch& batch) const {
  check_texts("input ids", batch.input_ids, batch.input_lengths);
  if (batch.candidate_lengths.empty()) {
    throw std::invalid_argument(
        "batch: there are no candidates; an encoder chooses among texts, expected at least one");
  }
  check_texts("candidate ids", batch.candidate_ids, batch.candidate_lengths);
  const auto candidates = static_cast<int64_t>(batch.candidate_lengths.size());
  check_packed("labels", batch.labels, batch.label_lengths, 1, candidates, Labels::kYes);
  check_records(batch);
  for (size_t i = 0; i < batch.record_keys.size(); ++i) {
    if (batch.label_lengths[i] != 1) {
      throw std::invalid_argument("batch: record " + std::to_string(i) + " has " +
                                  std::to_string(batch.label_lengths[i]) +
                                  " labels, expected one, the index of its candidate");
    }
    if (batch.record_keys[i] >= kCandidate) {
      throw std::invalid_argument("batch: the key of record " + std::to_string(i) + " is " +
                                  std::to_string(batch.record_keys[i]) +
                                  ", expected one below 2^31: higher ones are the candidates'");
    }
  }
}

Encoder::Targets Encoder::targets_of(const Batch& batch) const {
  Targets targets;
  for (size_t i = 0; i < batch.labels.size(); ++i) {
    if (batch.labels[i] == kIgnoredLabel) continue;
    targets.records.push_back(static_cast<int32_t>(i));
    targets.labels.push_back(batch.labels[i]);
  }
  return targets;
}

at::Tensor Encoder::unit_vectors(const std::vector<int32_t>& ids, const std::vector<int32_t>& lengths,
                                 const std::vector<uint32_t>& keys, const AccumulateOptions& options) const {
  const Sequences texts(lengths);
  EncoderPass pass;
  pass.abort = options.abort;
  pass.checkpointing = checkpointing();
  if (options.dropout) {
    pass.hidden_rate = base_rate(config_.hidden_dropout);
    pass.attention_rate = base_rate(config_.attention_dropout);
    pass.adapter_rate = adapter_rate();
    pass.counters = options.counters;
    pass.rows = std::make_shared<RowPlaces>(texts, keys);
  }
  return mean_unit_vectors(stack_.run(ids, texts, keys, pass), texts);
}

at::Tensor Encoder::scores(const Batch& batch, const std::vector<int32_t>& records,
                           const AccumulateOptions& options) const {
  const auto texts = static_cast<int64_t>(batch.input_lengths.size());
  const auto candidates = static_cast<int64_t>(batch.candidate_lengths.size());
  std::vector<uint32_t> keys = batch.record_keys;
  for (int64_t i = 0; i < candidates; ++i) keys.push_back(kCandidate | static_cast<uint32_t>(i));
  at::Tensor vectors = unit_vectors(joined(batch.input_ids, batch.candidate_ids),
                                    joined(batch.input_lengths, batch.candidate_lengths), keys, options);
  at::Tensor of_texts = vectors.narrow(0, 0, texts);
  if (!records.empty()) of_texts = at::index_select(of_texts, 0, index_tensor(records, of_texts));
  return at::mm(at::mul(of_texts, config_.similarity_scale), vectors.narrow(0, texts, candidates).t());
}

LossReport Encoder::accumulate_batch(const Batch& batch, const AccumulateOptions& options) {
  check(batch);
  const Targets targets = targets_of(batch);
  if (targets.labels.empty()) return {};
  at::AutoGradMode with_graph(true);
  return backward_of_cross_entropy(scores(batch, targets.records, options), targets.labels, options);
}

std::vector<double> Encoder::loss(const Batch& batch, const AbortFlag& abort) {
  c10::InferenceMode inference;
  check(batch);
  const Targets targets = targets_of(batch);
  std::vector<double> losses(batch.labels.size(), 0.0);
  if (targets.labels.empty()) return losses;
  AccumulateOptions options;
  options.abort = abort;
  const std::vector<double> found = cross_entropy(scores(batch, targets.records, options), targets.labels);
  for (size_t i = 0; i < found.size(); ++i) losses[targets.records[i]] = found[i];
  return losses;
}

at::Tensor Encoder::logits(const Batch& batch) {
  c10::InferenceMode inference;
  check(batch);
  return scores(batch, {}, {});
}

at::Tensor Encoder::embed(const std::vector<int32_t>& input_ids, const std::vector<int32_t>& input_lengths,
                          const AbortFlag& abort) {
  c10::InferenceMode inference;
  check_texts("input ids", input_ids, input_lengths);
  AccumulateOptions options;
  options.abort = abort;
  return unit_vectors(input_ids, input_lengths, {}, options);
}

std::vector<std::vector<int32_t>> Encoder::generate(const GenerateOptions&) {
  throw std::invalid_argument("an encoder writes no text; compare texts by their embeddings, or load a decoder or T5");
}

std::vector<double> Encoder::score_options(const ScoreOptions&) {
  throw std::invalid_argument(
      "an encoder gives no token a probability; compare a text's embedding with those of the options, or load a "
      "decoder "
      "or T5");
}

}  // namespace rkif
