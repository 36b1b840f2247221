// Decoders with rotary positions, RMS norms before each sublayer and a gated feed-forward layer: LLaMA (Touvron et al.,
// arXiv 2302.13971), Mistral (arXiv 2310.06825), Qwen 2 (arXiv 2407.10671), Qwen 3 (arXiv 2505.09388). One model driven
// by its configuration.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "models/activation.h"
#include "models/model.h"
#include "models/rope.h"

namespace rkif {

struct DecoderConfig {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_size = 0;
  double norm_epsilon = 1e-6;
  Activation activation = Activation::kSilu;
  RopeConfig rope;
  std::vector<int64_t> windows;  // one a layer; 0: no limit
  bool query_key_norm = false;
  bool query_key_value_bias = false;
  bool output_bias = false;
  bool mlp_bias = false;
  double attention_dropout = 0;
  bool tie_word_embeddings = false;
};

// As make_t5(). Stored rotary frequencies ("rotary_emb.inv_freq") are ignored.
std::unique_ptr<Model> make_decoder(const DecoderConfig& config, const ModelOptions& options, const Weights& weights);

std::vector<std::string> decoder_linear_modules(const DecoderConfig& config);

}  // namespace rkif
