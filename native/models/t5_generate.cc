// T5's generation and scoring of given options.
#include <c10/core/InferenceMode.h>

#include "models/generation.h"
#include "models/t5_model.h"

namespace rkif {
namespace {

// Spans of one new token for each active row: it attends to its row's cache so far and to its prompt.
void set_step(const std::vector<int32_t>& active, int64_t step, const Sequences& prompts, T5DecoderInput& input) {
  auto self = std::make_shared<std::vector<AttentionSpan>>();
  auto cross = std::make_shared<std::vector<AttentionSpan>>();
  input.cache->begin(active, step);
  for (size_t i = 0; i < active.size(); ++i) {
    int64_t row = active[i], query = static_cast<int64_t>(i);
    self->push_back({query, 1, row * input.cache->capacity(), step + 1, 0});
    cross->push_back({query, 1, prompts.starts[row], prompts.lengths[row], 0});
  }
  input.self = std::move(self);
  input.cross = std::move(cross);
}

}  // namespace

std::vector<std::vector<int32_t>> T5::generate(const GenerateOptions& options) {
  c10::InferenceMode inference;
  check_prompts(options.input_ids, options.input_lengths);
  Sequences prompts(options.input_lengths);
  if (prompts.count() == 0 || options.max_new_tokens < 1) return std::vector<std::vector<int32_t>>(prompts.count());

  T5Pass pass;
  pass.abort = options.abort;
  at::Tensor encoded = encoder_.encode(index_tensor(options.input_ids), prompts, {}, embedding_, pass);
  std::vector<KeyValues> cross = decoder_.cross_keys(encoded, pass);
  KeyValueCache cache(config_.num_decoder_layers, prompts.count(), options.max_new_tokens,
                      config_.num_heads * config_.d_kv);
  T5DecoderInput input;
  input.cache = &cache;
  input.bias = decoder_.bias(options.max_new_tokens);
  return generate_tokens(options, prompts.count(), vocab_size_,
                         [&](const std::vector<int32_t>& active, const std::vector<int32_t>& tokens, int64_t step) {
                           set_step(active, step, prompts, input);
                           int32_t start = static_cast<int32_t>(config_.decoder_start_token_id);
                           input.ids = index_tensor(step == 0 ? std::vector<int32_t>(active.size(), start) : tokens);
                           return head(decoder_.decode(input, {}, cross, embedding_, pass));
                         });
}

std::vector<double> T5::score_options(const ScoreOptions& options) {
  c10::InferenceMode inference;
  check_options(options);
  std::vector<double> sums(options.option_lengths.size(), 0.0);
  if (sums.empty()) return sums;

  T5Pass pass;
  pass.abort = options.abort;
  Sequences prompts(options.input_lengths), targets(options.option_lengths);
  at::Tensor encoded = encoder_.encode(index_tensor(options.input_ids), prompts, {}, embedding_, pass);
  T5DecoderInput input{index_tensor(decoder_ids(options.option_ids, targets)),
                       attention_spans(targets, targets, {}, {}),
                       attention_spans(targets, prompts, options.option_prompts, {}), decoder_.bias(targets.longest)};
  std::vector<double> losses =
      losses_of(decoder_.decode(input, encoded, {}, embedding_, pass), options.option_ids, options.abort);
  for (size_t i = 0; i < sums.size(); ++i) {
    for (int64_t token = 0; token < targets.lengths[i]; ++token) sums[i] -= losses[targets.starts[i] + token];
  }
  return sums;
}

}  // namespace rkif
