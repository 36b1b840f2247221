// The decoder model behind make_decoder().
#pragma once
#include <vector>

#include "models/decoder.h"
#include "models/decoder_stack.h"
#include "models/language_model.h"

namespace rkif {

class Decoder : public LanguageModel {
 public:
  Decoder(const DecoderConfig& config, const ModelOptions& options, const Weights& weights);

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
  // What the last layer computes: everything, what is wanted where that is enough less to pay, or that in any case. In
  // inference the last: results do not depend on what else is in a call.
  enum class LastLayer { kWhole, kAsPays, kWanted };
  // Asks for the states of these rows. `positions` of all rows, and the longest text, as the input's places were made
  // of.
  void want(const std::vector<int32_t>& rows, const std::vector<int32_t>& positions, int64_t longest, Upload& upload,
            DecoderInput& input, LastLayer last_layer) const;

  const DecoderConfig config_;
  DecoderStack stack_;
  mutable Rope rope_;  // its tables grow with the texts seen; models are used by one thread
  at::Tensor embedding_;
  Linear head_;
};

}  // namespace rkif
