// A small decoder with random weights, and batches for it.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "models/decoder.h"
#include "models_small_t5.h"

namespace rkif::test {

constexpr int32_t kDecoderVocabulary = 40;

// 2 layers; grouped heads whose widths are no multiple of the hidden size, a window in one layer.
DecoderConfig small_decoder();
// Biases everywhere, norms of queries and keys, a tied head.
DecoderConfig biased_decoder();
// Weights for the configuration, the same at every call.
Weights decoder_weights(const DecoderConfig& config);
ModelOptions decoder_lora(const std::vector<std::string>& targets = {"q_proj", "v_proj", "down_proj"});
// A model whose adapter, where it has one, is random as well.
std::unique_ptr<Model> small_decoder_model(const DecoderConfig& config, const ModelOptions& options);
// Labels parallel to the inputs; some are not predicted, as a prompt's.
Batch decoder_batch();

}  // namespace rkif::test
