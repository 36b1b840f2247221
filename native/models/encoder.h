// Encoders whose layers end in their norms: BERT (Devlin et al., arXiv 1810.04805), RoBERTa (arXiv 1907.11692),
// DistilBERT (arXiv 1910.01108). One model driven by its configuration. A text becomes the mean of its tokens' states
// scaled to length 1, as in Sentence-BERT (arXiv 1908.10084); it is classified by its cosines with candidate texts.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "models/activation.h"
#include "models/model.h"

namespace rkif {

// How a checkpoint names its tensors.
enum class EncoderNaming { kBert, kRoberta, kDistilBert };

struct EncoderConfig {
  EncoderNaming naming = EncoderNaming::kBert;
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t max_positions = 0;    // rows of the position table
  int64_t first_position = 0;   // row of a text's first token
  int64_t type_vocab_size = 0;  // rows of the token type table, all tokens having type 0; 0: there is none
  double norm_epsilon = 1e-12;
  Activation activation = Activation::kGelu;
  double hidden_dropout = 0;
  double attention_dropout = 0;
  double similarity_scale = 1;  // logits are this times the cosine
};

// As make_t5(). The checkpoint may hold everything under the prefix of a model with a head ("bert.", "roberta.",
// "distilbert."), and norms under their oldest names (gamma, beta); poolers, heads and position ids are ignored.
std::unique_ptr<Model> make_encoder(const EncoderConfig& config, const ModelOptions& options, const Weights& weights);

std::vector<std::string> encoder_linear_modules(const EncoderConfig& config);

}  // namespace rkif
