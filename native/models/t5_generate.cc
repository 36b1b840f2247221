// Greedy generation and scoring of given options.
#include <ATen/ops/argmax.h>
#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>

#include <limits>
#include <numeric>
#include <stdexcept>

#include "models/loss.h"
#include "models/t5_model.h"

namespace rkif {
namespace {

// Spans of one new token for each active row: it attends to its row's cache so far and to its prompt.
void set_step(const std::vector<int32_t>& active, int64_t step, int64_t capacity, const Sequences& prompts,
              DecoderInput& input) {
  auto self = std::make_shared<std::vector<AttentionSpan>>();
  auto cross = std::make_shared<std::vector<AttentionSpan>>();
  at::Tensor positions = at::empty({static_cast<int64_t>(active.size())}, at::kLong);
  int64_t* position = positions.mutable_data_ptr<int64_t>();
  for (size_t i = 0; i < active.size(); ++i) {
    int64_t row = active[i], query = static_cast<int64_t>(i);
    self->push_back({query, 1, row * capacity, step + 1, 0});
    cross->push_back({query, 1, prompts.starts[row], prompts.lengths[row], 0});
    position[i] = row * capacity + step;
  }
  input.self = std::move(self);
  input.cross = std::move(cross);
  input.cache->at_positions(positions);
}

}  // namespace

std::vector<std::vector<int32_t>> T5::generate(const GenerateOptions& options) {
  c10::InferenceMode inference;
  check_prompts(options.input_ids, options.input_lengths);
  if (options.eos_token_id >= config_.vocab_size) {
    throw std::invalid_argument("generate: the end token is " + std::to_string(options.eos_token_id) +
                                ", expected a token below the vocabulary's size of " +
                                std::to_string(config_.vocab_size));
  }
  Sequences prompts(options.input_lengths);
  std::vector<std::vector<int32_t>> results(prompts.count());
  if (results.empty() || options.max_new_tokens < 1) return results;

  T5Pass pass;
  pass.abort = options.abort;
  at::Tensor states = encoder_.encode(index_tensor(options.input_ids), prompts, {}, embedding_, pass);
  std::vector<KeyValues> cross = decoder_.cross_keys(states, pass);
  // Most answers are short: the cache grows as they do.
  int64_t capacity = std::min<int64_t>(options.max_new_tokens, 16);
  SelfCache cache(config_.num_decoder_layers, prompts.count(), capacity, config_.num_heads * config_.d_kv);
  DecoderInput input;
  input.cache = &cache;
  input.bias = decoder_.bias(options.max_new_tokens);

  std::vector<int32_t> active(prompts.count());
  std::iota(active.begin(), active.end(), 0);
  std::vector<int32_t> ids(active.size(), static_cast<int32_t>(config_.decoder_start_token_id));
  for (int64_t step = 0; step < options.max_new_tokens && !active.empty(); ++step) {
    if (step == capacity) {
      capacity = std::min(2 * capacity, options.max_new_tokens);
      cache.grow(capacity);
    }
    set_step(active, step, capacity, prompts, input);
    input.ids = index_tensor(ids);
    at::Tensor scores = head(decoder_.decode(input, {}, cross, embedding_, pass));
    bool may_end = options.eos_token_id >= 0;
    if (may_end && step < options.min_new_tokens) {
      scores.select(1, options.eos_token_id).fill_(-std::numeric_limits<float>::infinity());
    }
    at::Tensor best = at::argmax(scores, 1);
    const int64_t* tokens = best.const_data_ptr<int64_t>();
    std::vector<int32_t> still_active;
    ids.clear();
    for (size_t i = 0; i < active.size(); ++i) {
      int32_t token = static_cast<int32_t>(tokens[i]);
      results[active[i]].push_back(token);
      if (may_end && token == options.eos_token_id) continue;
      still_active.push_back(active[i]);
      ids.push_back(token);
    }
    active = std::move(still_active);
  }
  return results;
}

std::vector<double> T5::score_options(const ScoreOptions& options) {
  c10::InferenceMode inference;
  check_prompts(options.input_ids, options.input_lengths);
  check_packed("option ids", options.option_ids, options.option_lengths, 1, config_.vocab_size, Labels::kNo);
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
  std::vector<double> sums(options.option_lengths.size(), 0.0);
  if (sums.empty()) return sums;

  T5Pass pass;
  pass.abort = options.abort;
  Sequences prompts(options.input_lengths), targets(options.option_lengths);
  at::Tensor states = encoder_.encode(index_tensor(options.input_ids), prompts, {}, embedding_, pass);
  DecoderInput input{index_tensor(decoder_ids(options.option_ids, targets)), attention_spans(targets, targets, {}, {}),
                     attention_spans(targets, prompts, options.option_prompts, {}), decoder_.bias(targets.longest)};
  std::vector<double> losses =
      losses_of(decoder_.decode(input, states, {}, embedding_, pass), options.option_ids, options.abort);
  for (size_t i = 0; i < sums.size(); ++i) {
    for (int64_t token = 0; token < targets.lengths[i]; ++token) sums[i] -= losses[targets.starts[i] + token];
  }
  return sums;
}

}  // namespace rkif
