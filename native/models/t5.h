// T5 v1.0, v1.1 and Flan (Raffel et al., arXiv 1910.10683; Shazeer, arXiv 2002.05202 for the gated feed-forward).
#pragma once
#include "models/activation.h"
#include "models/model.h"

namespace rkif {

struct T5Config {
  int64_t vocab_size = 0;
  int64_t d_model = 0;
  int64_t d_kv = 0;
  int64_t d_ff = 0;
  int64_t num_heads = 0;
  int64_t num_layers = 0;
  int64_t num_decoder_layers = 0;
  int64_t relative_attention_num_buckets = 32;
  int64_t relative_attention_max_distance = 128;
  double layer_norm_epsilon = 1e-6;
  double dropout_rate = 0.1;
  Activation activation = Activation::kRelu;
  bool gated = false;
  bool tie_word_embeddings = true;
  bool scale_decoder_outputs = true;
  int64_t pad_token_id = 0;
  int64_t decoder_start_token_id = 0;
};

// Takes the weights it needs (converted to options.base_type, or sharing memory where the type is already that; norms
// and position tables are kept in fp32). Tied names may be absent; legacy tensors that no parameter wants are ignored.
// Throws CheckpointMismatch where the weights do not fit and std::invalid_argument where configuration or options make
// no sense. The trainable vectors start as: adapter zeros; full mode: the weights.
std::unique_ptr<Model> make_t5(const T5Config& config, const ModelOptions& options, const Weights& weights);

// Paths of the layers an adapter can be put on, in the order of the state dict.
std::vector<std::string> t5_linear_modules(const T5Config& config);

}  // namespace rkif
