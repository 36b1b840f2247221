// The loop over new tokens that every generating family shares: choosing tokens, ending sequences, telling listeners.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "models/model.h"
#include "models/schedule.h"

namespace rkif {

// fp32 logits [rows, vocabulary] of what follows the rows that grow already, then those that enter, whose prompts are
// computed now.
using NextLogits =
    std::function<at::Tensor(const std::vector<GenerationRow>& growing, const std::vector<GenerationRow>& entering)>;

// How many tokens all prompts begin with, as far as computing them once pays: 0 for a single prompt or a few tokens.
// Every prompt has two tokens behind them at least: attention may treat a single query in a way of its own, and a
// prompt's answer shall not depend on the others.
int64_t shared_tokens(const std::vector<int32_t>& ids, const std::vector<int32_t>& lengths);

// New tokens of the schedule's prompts, up to and including an end token. At least one token of each is wanted. Throws
// std::invalid_argument where an end token lies outside the vocabulary or the sampling makes no sense, NotFinite where
// logits hold no highest number.
std::vector<std::vector<int32_t>> generate_tokens(const GenerateOptions& options, Schedule& schedule,
                                                  int64_t vocab_size, const NextLogits& next_logits);

// One token of each row; see Sampling. Logits that hold no number at all give token 0.
std::vector<int32_t> sample_tokens(const at::Tensor& logits, const Sampling& sampling,
                                   const std::vector<GenerationRow>& rows);

}  // namespace rkif
