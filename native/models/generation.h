// The loop over new tokens that every generating family shares: choosing tokens, ending sequences, telling listeners.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "models/model.h"

namespace rkif {

// fp32 logits [active, vocabulary] of what follows: `active` are indices of the prompts still growing, `tokens` what
// was chosen for each in the step before (empty in step 0).
using NextLogits =
    std::function<at::Tensor(const std::vector<int32_t>& active, const std::vector<int32_t>& tokens, int64_t step)>;

// New tokens of `prompts` prompts, up to and including an end token. Throws std::invalid_argument where an end token
// lies outside the vocabulary or the sampling makes no sense, NotFinite where logits hold no highest number.
std::vector<std::vector<int32_t>> generate_tokens(const GenerateOptions& options, int64_t prompts, int64_t vocab_size,
                                                  const NextLogits& next_logits);

// One token of each row; see Sampling. `prompts` are the indices of the rows' prompts. Logits that hold no number at
// all give token 0.
std::vector<int32_t> sample_tokens(const at::Tensor& logits, const Sampling& sampling,
                                   const std::vector<int32_t>& prompts, int64_t step);

}  // namespace rkif
