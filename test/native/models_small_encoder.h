// Small encoders with random weights, batches for them, and what they should compute worked out in double precision.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "models/encoder.h"

namespace rkif::test {

// 2 layers of width 24 with 3 heads of 8; vocabulary 40; texts of up to 14 tokens.
EncoderConfig small_encoder(EncoderNaming naming);
// BERT's name of a tensor as the naming has it.
std::string encoder_name(EncoderNaming naming, const std::string& bert_name);
// Weights for the configuration, the same at every call, under the names of its naming.
Weights encoder_weights(const EncoderConfig& config);
// A model whose adapter, where it has one, is random as well.
std::unique_ptr<Model> small_encoder_model(const EncoderConfig& config, const ModelOptions& options);

// Five records, one of them without a label, and three candidates, one of them longer than some of the records.
Batch encoder_batch();

// The model's formulas one number at a time, in double precision.
struct EncoderReference {
  EncoderConfig config;
  Weights weights;
  bool dropout = false;
  DropoutCounters counters = {};

  // Unit vector of one text. `key`: its dropout key.
  std::vector<double> embed(const std::vector<int32_t>& ids, uint32_t key) const;
  // [records][candidates].
  std::vector<std::vector<double>> logits(const Batch& batch) const;
  // Cross entropy of each record; 0 where it has no label.
  std::vector<double> losses(const Batch& batch) const;
};

}  // namespace rkif::test
