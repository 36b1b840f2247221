// The encoder model behind make_encoder().
#pragma once
#include <string>
#include <vector>

#include "models/encoder.h"
#include "models/encoder_stack.h"
#include "models/trainable_model.h"

namespace rkif {

class Encoder : public TrainableModel {
 public:
  Encoder(const EncoderConfig& config, const ModelOptions& options, const Weights& weights);

  std::vector<double> loss(const Batch& batch, const AbortFlag& abort) override;
  at::Tensor logits(const Batch& batch) override;
  at::Tensor embed(const std::vector<int32_t>& input_ids, const std::vector<int32_t>& input_lengths,
                   const AbortFlag& abort) override;
  std::vector<std::vector<int32_t>> generate(const GenerateOptions& options) override;
  std::vector<double> score_options(const ScoreOptions& options) override;

 protected:
  LossReport accumulate_batch(const Batch& batch, const AccumulateOptions& options) override;

 private:
  // Records with a label, and the candidates that are theirs.
  struct Targets {
    std::vector<int32_t> records;
    std::vector<int32_t> labels;
  };

  void load(const Weights& weights);
  void check_texts(const std::string& what, const std::vector<int32_t>& ids, const std::vector<int32_t>& lengths) const;
  void check(const Batch& batch) const;
  Targets targets_of(const Batch& batch) const;
  // Unit vectors of texts, [texts, hidden size]. Dropout, by the texts' keys, where the options ask for it.
  at::Tensor unit_vectors(const std::vector<int32_t>& ids, const std::vector<int32_t>& lengths,
                          const std::vector<uint32_t>& keys, const AccumulateOptions& options) const;
  // Logits of the chosen records (an empty list: of all), [records, candidates].
  at::Tensor scores(const Batch& batch, const std::vector<int32_t>& records, const AccumulateOptions& options) const;

  const EncoderConfig config_;
  EncoderStack stack_;
};

}  // namespace rkif
