// The T5 model behind make_t5().
#pragma once
#include <vector>

#include "models/language_model.h"
#include "models/t5.h"
#include "models/t5_stack.h"

namespace rkif {

class T5 : public LanguageModel {
 public:
  T5(const T5Config& config, const ModelOptions& options, const Weights& weights);

 protected:
  void check(const Batch& batch) const override;
  Targets targets_of(const Batch& batch) const override;
  at::Tensor states(const Batch& batch, const std::vector<int32_t>* rows, const AccumulateOptions& options,
                    Upload& upload) const override;
  VocabularyHead head() const override;
  NextLogits next_logits(const GenerateOptions& options, const GenerationRoom& room) const override;
  Predictions option_states(const Sequences& prompts, const Sequences& targets,
                            const ScoreOptions& options) const override;

 private:
  void load(const Weights& weights);
  // What the encoder takes; `into` stays where it is until the upload is sent. `records` may be empty: no dropout.
  void place_inputs(const std::vector<int32_t>& ids, const Sequences& sequences, const std::vector<uint32_t>& records,
                    Upload& upload, T5EncoderInput& into) const;
  // The labels shifted right, starting with the decoder's start token; -100 becomes the padding token.
  std::vector<int32_t> decoder_ids(const std::vector<int32_t>& labels, const Sequences& sequences) const;

  const T5Config config_;
  T5Stack encoder_;
  T5Stack decoder_;
  at::Tensor embedding_;
  Linear head_;
};

}  // namespace rkif
