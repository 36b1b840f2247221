// T5's generation and scoring of given options.
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

std::vector<std::vector<int32_t>> T5::generate_behind(const Sequences& prompts, const GenerateOptions& options) const {
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

at::Tensor T5::option_states(const Sequences& prompts, const Sequences& targets, const ScoreOptions& options) const {
  T5Pass pass;
  pass.abort = options.abort;
  at::Tensor encoded = encoder_.encode(index_tensor(options.input_ids), prompts, {}, embedding_, pass);
  T5DecoderInput input{index_tensor(decoder_ids(options.option_ids, targets)),
                       attention_spans(targets, targets, {}, {}),
                       attention_spans(targets, prompts, options.option_prompts, {}), decoder_.bias(targets.longest)};
  return decoder_.decode(input, encoded, {}, embedding_, pass);
}

}  // namespace rkif
