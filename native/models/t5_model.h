// The T5 model behind make_t5().
#pragma once
#include <vector>

#include "models/t5.h"
#include "models/t5_stack.h"

namespace rkif {

class T5 : public Model {
 public:
  T5(const T5Config& config, const ModelOptions& options, const Weights& weights);

  LossReport accumulate(const Batch& batch, const AccumulateOptions& options) override;
  std::vector<double> loss(const Batch& batch, const AbortFlag& abort) override;
  at::Tensor logits(const Batch& batch) override;
  std::vector<std::vector<int32_t>> generate(const GenerateOptions& options) override;
  std::vector<double> score_options(const ScoreOptions& options) override;
  void merge_adapter() override;
  void unmerge_adapter() override;

 private:
  // Rows of the decoder's output that are predicted from, and what they are to predict.
  struct Targets {
    std::vector<int32_t> rows;
    std::vector<int32_t> labels;
    std::vector<int32_t> records;  // index of the record in the batch
  };
  static Targets targets_of(const Batch& batch);

  void check(const Batch& batch) const;
  void check_prompts(const std::vector<int32_t>& ids, const std::vector<int32_t>& lengths) const;
  void load(const Weights& weights);
  // The labels shifted right, starting with the decoder's start token; -100 becomes the padding token.
  std::vector<int32_t> decoder_ids(const std::vector<int32_t>& labels, const Sequences& sequences) const;
  at::Tensor decoder_states(const Batch& batch, const T5Pass& pass, const Sequences& inputs,
                            const Sequences& targets) const;
  // Logits of the decoder's states, fp32.
  at::Tensor head(const at::Tensor& states) const;
  // Cross entropy of every row, its logits made by chunks: all at once may be gigabytes.
  std::vector<double> losses_of(const at::Tensor& states, const std::vector<int32_t>& labels,
                                const AbortFlag& abort) const;

  const T5Config config_;
  const ModelOptions options_;
  T5Stack encoder_;
  T5Stack decoder_;
  at::Tensor embedding_;
  Linear head_;
  std::vector<Linear*> adapted_;
  bool merged_ = false;
};

}  // namespace rkif
