// What T5 and the decoders have in common: a head over the vocabulary, and the cross entropy of label tokens.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "models/generation.h"
#include "models/head.h"
#include "models/packed.h"
#include "models/trainable_model.h"

namespace rkif {

class LanguageModel : public TrainableModel {
 public:
  std::vector<double> loss(const Batch& batch, const AbortFlag& abort) override;
  at::Tensor logits(const Batch& batch) override;
  std::vector<std::vector<int32_t>> generate(const GenerateOptions& options) final;
  std::vector<double> score_options(const ScoreOptions& options) final;
  at::Tensor embed(const std::vector<int32_t>& input_ids, const std::vector<int32_t>& input_lengths,
                   const AbortFlag& abort) override;

 protected:
  // Rows of states() that something is predicted from, and what they are to predict.
  struct Targets {
    std::vector<int32_t> rows;
    std::vector<int32_t> labels;
    std::vector<int32_t> records;  // index of the record in the batch

    void add(int64_t row, int32_t label, size_t record);
  };

  LanguageModel(const ModelOptions& options, int64_t vocab_size) : TrainableModel(options), vocab_size_(vocab_size) {}

  LossReport accumulate_batch(const Batch& batch, const AccumulateOptions& options) override;
  // Throws std::invalid_argument for a batch that does not fit the model.
  virtual void check(const Batch& batch) const = 0;
  virtual Targets targets_of(const Batch& batch) const = 0;
  // States that the head makes logits from: of these rows, in ascending order, or, where it is null, of every row that
  // logits() is to give. Dropout where the options ask for it. The upload, to the model's device, is sent with what it
  // holds already.
  virtual at::Tensor states(const Batch& batch, const std::vector<int32_t>* rows, const AccumulateOptions& options,
                            Upload& upload) const = 0;
  virtual VocabularyHead head() const = 0;
  // fp32 logits of states.
  at::Tensor logits_of(const at::Tensor& states) const { return vocabulary_logits(states, head(), options_); }

  // What gives the next logits of rows that have room. It is used while the options live.
  virtual NextLogits next_logits(const GenerateOptions& options, const GenerationRoom& room) const = 0;
  // Label i is predicted from rows[i] of the states; several may be predicted from one.
  struct Predictions {
    at::Tensor states;
    std::vector<int32_t> rows;
  };
  // Of the options' tokens, in their order.
  virtual Predictions option_states(const Sequences& prompts, const Sequences& targets,
                                    const ScoreOptions& options) const = 0;

  void check_prompts(const std::vector<int32_t>& ids, const std::vector<int32_t>& lengths) const;

  const int64_t vocab_size_;

 private:
  // Cross entropy of every label. Logits are made once for each row, and by chunks: all at once may be gigabytes.
  std::vector<double> losses_of(const Predictions& predictions, const std::vector<int32_t>& labels,
                                const AbortFlag& abort) const;
  // Also that every option has a prompt.
  void check_options(const ScoreOptions& options) const;
};

}  // namespace rkif
