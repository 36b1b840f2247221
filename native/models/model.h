// What every transformer family offers. Knows nothing of Node or files: weights come as tensors, results go as tensors.
#pragma once
#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/dropout.h"

namespace rkif {

// Thrown between layers when the flag is set.
struct Aborted : std::runtime_error {
  Aborted() : std::runtime_error("stopped by the caller") {}
};
using AbortFlag = std::shared_ptr<std::atomic<bool>>;
inline void check_abort(const AbortFlag& flag) {
  if (flag && flag->load(std::memory_order_relaxed)) throw Aborted();
}

// Weights do not fit the configuration: missing, unexpected or of another shape. The message names the tensors.
struct CheckpointMismatch : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// All tensors of a checkpoint by Hugging Face name, in their stored type; they may be views of mapped memory.
using Weights = std::map<std::string, at::Tensor>;

// One tensor of the flat trainable vector.
struct TensorLayout {
  std::string name;  // PEFT key of an adapter tensor, Hugging Face name in full-parameter mode
  std::vector<int64_t> shape;
  int64_t offset;
};

struct LoraConfig {
  int64_t r = 8;
  double alpha = 32;
  double dropout = 0.05;
  bool rs_lora = false;  // scale = alpha / sqrt(r) instead of alpha / r
  std::vector<std::string> target_modules;
};

struct ModelOptions {
  bool full = false;  // every weight trains; otherwise a LoRA adapter
  LoraConfig lora;
  at::ScalarType base_type = at::kFloat;  // kFloat or kBFloat16; kFloat in full-parameter mode
  double base_dropout = -1;               // below 0: the config's rate
};

// Records laid end to end; int32 ids on the host. A record's dropout key goes with it.
struct Batch {
  std::vector<int32_t> input_ids;
  std::vector<int32_t> input_lengths;
  std::vector<int32_t> labels;  // -100: not predicted
  std::vector<int32_t> label_lengths;
  std::vector<uint32_t> record_keys;
};

struct AccumulateOptions {
  double divisor = 1;     // label tokens of the whole step
  double loss_scale = 1;  // of the backward pass only
  bool dropout = false;
  DropoutCounters counters;
  AbortFlag abort;
};

struct LossReport {
  double loss_sum = 0;
  int64_t label_tokens = 0;
};

struct GenerateOptions {
  std::vector<int32_t> input_ids;
  std::vector<int32_t> input_lengths;
  int64_t max_new_tokens = 1;
  int64_t min_new_tokens = 0;
  int64_t eos_token_id = -1;  // below 0: never stop early
  AbortFlag abort;
};

struct ScoreOptions {
  std::vector<int32_t> input_ids;
  std::vector<int32_t> input_lengths;
  std::vector<int32_t> option_ids;
  std::vector<int32_t> option_lengths;
  std::vector<int32_t> option_prompts;
  AbortFlag abort;
};

class Model {
 public:
  virtual ~Model() = default;

  const std::vector<TensorLayout>& layout() const { return layout_; }
  // Flat fp32 vectors of all trainable parameters and their gradients; every trainable tensor is a view of them.
  const at::Tensor& parameters() const { return parameters_; }
  const at::Tensor& gradients() const { return gradients_; }

  // Adds the gradient of loss_scale * loss_sum / divisor to gradients().
  virtual LossReport accumulate(const Batch&, const AccumulateOptions&) = 0;
  // Sum of the cross entropies of each record's label tokens; no dropout, no gradients.
  virtual std::vector<double> loss(const Batch&, const AbortFlag&) = 0;
  // fp32 logits of all label positions (also of -100 labels), [label tokens, vocabulary].
  virtual at::Tensor logits(const Batch&) = 0;
  // New tokens of each prompt, up to and including the end token.
  virtual std::vector<std::vector<int32_t>> generate(const GenerateOptions&) = 0;
  // Sum of log p(token | prompt, earlier tokens) of each option.
  virtual std::vector<double> score_options(const ScoreOptions&) = 0;
  // LoRA only: W + scale * B A in place of W, and back to the same bits.
  virtual void merge_adapter() = 0;
  virtual void unmerge_adapter() = 0;

 protected:
  std::vector<TensorLayout> layout_;
  at::Tensor parameters_;
  at::Tensor gradients_;
};

}  // namespace rkif
