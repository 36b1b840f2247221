// A decoder's generation and scoring of given options. What stands in a prompt is computed once: later tokens attend to
// its keys as a prefix.
#include <ATen/ops/index_select.h>

#include "models/decoder_model.h"
#include "models/generation.h"

namespace rkif {
namespace {

// One new token for each active row, at its place behind the prompt.
void set_step(const std::vector<int32_t>& active, int64_t step, const Sequences& prompts, DecoderInput& input,
              std::vector<int32_t>& positions) {
  auto spans = std::make_shared<std::vector<AttentionSpan>>();
  input.cache->begin(active, step - 1);
  for (size_t i = 0; i < active.size(); ++i) {
    int64_t row = active[i];
    spans->push_back({static_cast<int64_t>(i), 1, row * input.cache->capacity(), step, 0, prompts.starts[row],
                      prompts.lengths[row]});
    positions.push_back(static_cast<int32_t>(prompts.lengths[row] + step - 1));
  }
  input.spans = std::move(spans);
}

}  // namespace

std::vector<std::vector<int32_t>> Decoder::generate_behind(const Sequences& prompts,
                                                           const GenerateOptions& options) const {
  DecoderPass pass;
  pass.abort = options.abort;
  std::vector<KeyValues> prompt_keys;
  KeyValueCache cache(config_.num_layers, prompts.count(), options.max_new_tokens, stack_.key_width());
  auto first = [&] {
    DecoderInput input;
    input.ids = index_tensor(options.input_ids);
    input.places = rope_.places(positions_of(prompts), prompts.longest);
    input.spans = attention_spans(prompts, prompts, {}, {});
    input.kept = &prompt_keys;
    at::Tensor states = stack_.run(input, embedding_, pass);
    std::vector<int32_t> last;
    for (int64_t i = 0; i < prompts.count(); ++i) {
      last.push_back(static_cast<int32_t>(prompts.starts[i] + prompts.lengths[i] - 1));
    }
    return at::index_select(states, 0, index_tensor(last));
  };
  auto next = [&](const std::vector<int32_t>& active, const std::vector<int32_t>& tokens, int64_t step) {
    DecoderInput input;
    input.cache = &cache;
    input.prefix = &prompt_keys;
    std::vector<int32_t> positions;
    set_step(active, step, prompts, input, positions);
    input.ids = index_tensor(tokens);
    input.places = rope_.places(std::move(positions), prompts.longest + step);
    return stack_.run(input, embedding_, pass);
  };
  return generate_tokens(options, prompts.count(), vocab_size_,
                         [&](const std::vector<int32_t>& active, const std::vector<int32_t>& tokens, int64_t step) {
                           return head(step == 0 ? first() : next(active, tokens, step));
                         });
}

at::Tensor Decoder::option_states(const Sequences& prompts, const Sequences& targets,
                                  const ScoreOptions& options) const {
  // Prompts, then every option but its last token, from which nothing is predicted.
  std::vector<int32_t> ids = options.input_ids, positions = positions_of(prompts), rows;
  Spans prompt_spans = attention_spans(prompts, prompts, {}, {});
  auto spans = std::make_shared<std::vector<AttentionSpan>>(*prompt_spans);
  int64_t longest = prompts.longest;
  for (int64_t i = 0; i < targets.count(); ++i) {
    const int64_t prompt = options.option_prompts[i], start = static_cast<int64_t>(ids.size());
    const int64_t before = prompts.lengths[prompt], length = targets.lengths[i] - 1;
    rows.push_back(static_cast<int32_t>(prompts.starts[prompt] + before - 1));
    for (int64_t token = 0; token < length; ++token) {
      ids.push_back(options.option_ids[targets.starts[i] + token]);
      positions.push_back(static_cast<int32_t>(before + token));
      rows.push_back(static_cast<int32_t>(start + token));
    }
    if (length > 0) spans->push_back({start, length, start, length, 0, prompts.starts[prompt], before});
    longest = std::max(longest, before + targets.lengths[i]);
  }
  DecoderPass pass;
  pass.abort = options.abort;
  DecoderInput input;
  input.ids = index_tensor(ids);
  input.places = rope_.places(std::move(positions), longest);
  input.spans = std::move(spans);
  return at::index_select(stack_.run(input, embedding_, pass), 0, index_tensor(rows));
}

}  // namespace rkif
