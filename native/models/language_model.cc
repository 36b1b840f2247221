#include "models/language_model.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/index_select.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "models/loss.h"

namespace rkif {

void LanguageModel::Targets::add(int64_t row, int32_t label, size_t record) {
  rows.push_back(static_cast<int32_t>(row));
  labels.push_back(label);
  records.push_back(static_cast<int32_t>(record));
}

LossReport LanguageModel::accumulate_batch(const Batch& batch, const AccumulateOptions& options) {
  check(batch);
  Targets targets = targets_of(batch);
  if (targets.labels.empty()) return {};

  at::AutoGradMode with_graph(true);
  Upload upload(options_.device);
  const bool all = targets.rows.size() == batch.labels.size();
  at::Tensor rows = states(batch, all ? nullptr : &targets.rows, options, upload);
  return backward_of_labels(rows, targets.labels, head(), options_, options);
}

std::vector<double> LanguageModel::losses_of(const Predictions& predictions, const std::vector<int32_t>& labels,
                                             const AbortFlag& abort) const {
  constexpr int64_t kLogits = int64_t{1} << 24;
  const int64_t step = std::max<int64_t>(64, kLogits / vocab_size_);
  // Labels by row, and rows without repetition.
  std::vector<size_t> order(labels.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return predictions.rows[a] < predictions.rows[b]; });
  std::vector<double> losses(labels.size());
  for (size_t next = 0; next < order.size();) {
    check_abort(abort);
    std::vector<int32_t> rows, places, chunk;
    const size_t first = next;
    for (; next < order.size(); ++next) {
      const int32_t row = predictions.rows[order[next]];
      if (rows.empty() || rows.back() != row) {
        if (static_cast<int64_t>(rows.size()) == step) break;
        rows.push_back(row);
      }
      places.push_back(static_cast<int32_t>(rows.size() - 1));
      chunk.push_back(labels[order[next]]);
    }
    at::Tensor logits = logits_of(at::index_select(predictions.states, 0, index_tensor(rows, predictions.states)));
    std::vector<double> part = cross_entropy(logits, places, chunk);
    for (size_t i = 0; i < part.size(); ++i) losses[order[first + i]] = part[i];
  }
  return losses;
}

std::vector<double> LanguageModel::loss(const Batch& batch, const AbortFlag& abort) {
  c10::InferenceMode inference;
  check(batch);
  Targets targets = targets_of(batch);
  std::vector<double> sums(batch.input_lengths.size(), 0.0);
  if (targets.labels.empty()) return sums;
  AccumulateOptions options;
  options.abort = abort;
  Upload upload(options_.device);
  Predictions predictions{states(batch, &targets.rows, options, upload), {}};
  predictions.rows.resize(targets.rows.size());
  std::iota(predictions.rows.begin(), predictions.rows.end(), 0);
  std::vector<double> losses = losses_of(predictions, targets.labels, abort);
  for (size_t i = 0; i < losses.size(); ++i) sums[targets.records[i]] += losses[i];
  return sums;
}

at::Tensor LanguageModel::logits(const Batch& batch) {
  c10::InferenceMode inference;
  check(batch);
  Upload upload(options_.device);
  return logits_of(states(batch, nullptr, {}, upload));
}

std::vector<std::vector<int32_t>> LanguageModel::generate(const GenerateOptions& options) {
  c10::InferenceMode inference;
  check_prompts(options.input_ids, options.input_lengths);
  const size_t prompts = options.input_lengths.size();
  if (prompts == 0 || options.max_new_tokens < 1) return std::vector<std::vector<int32_t>>(prompts);
  Schedule schedule(options.input_lengths, {options.batch_tokens, options.batch_rows});
  return generate_tokens(options, schedule, vocab_size_, next_logits(options, schedule.room()));
}

std::vector<double> LanguageModel::score_options(const ScoreOptions& options) {
  c10::InferenceMode inference;
  check_options(options);
  std::vector<double> sums(options.option_lengths.size(), 0.0);
  if (sums.empty()) return sums;
  Sequences targets(options.option_lengths);
  Predictions predictions = option_states(Sequences(options.input_lengths), targets, options);
  std::vector<double> losses = losses_of(predictions, options.option_ids, options.abort);
  for (size_t i = 0; i < sums.size(); ++i) {
    for (int64_t token = 0; token < targets.lengths[i]; ++token) sums[i] -= losses[targets.starts[i] + token];
  }
  return sums;
}

at::Tensor LanguageModel::embed(const std::vector<int32_t>&, const std::vector<int32_t>&, const AbortFlag&) {
  throw std::invalid_argument("a language model has no embedding of a text; expected an encoder (BERT, RoBERTa, ...)");
}

void LanguageModel::check_prompts(const std::vector<int32_t>& ids, const std::vector<int32_t>& lengths) const {
  check_packed("input ids", ids, lengths, 1, vocab_size_, Labels::kNo);
}

void LanguageModel::check_options(const ScoreOptions& options) const {
  check_prompts(options.input_ids, options.input_lengths);
  check_packed("option ids", options.option_ids, options.option_lengths, 1, vocab_size_, Labels::kNo);
  if (options.option_prompts.size() != options.option_lengths.size()) {
    throw std::invalid_argument("score options: " + std::to_string(options.option_lengths.size()) + " options, but " +
                                std::to_string(options.option_prompts.size()) + " prompt indices");
  }
  int32_t prompt_count = static_cast<int32_t>(options.input_lengths.size());
  for (size_t i = 0; i < options.option_prompts.size(); ++i) {
    if (options.option_prompts[i] < 0 || options.option_prompts[i] >= prompt_count) {
      throw std::invalid_argument("score options: option " + std::to_string(i) + " belongs to prompt " +
                                  std::to_string(options.option_prompts[i]) + ", but there are " +
                                  std::to_string(prompt_count));
    }
  }
}

}  // namespace rkif
