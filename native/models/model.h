// What every transformer family offers. Knows nothing of Node or files: weights come as tensors, results go as tensors.
#pragma once
#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
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

// A result that would be made of NaN or infinity.
struct NotFinite : std::runtime_error {
  using std::runtime_error::runtime_error;
};

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

// A linear layer that gets a low-rank adapter: y = W x + scale * B (A x).
struct AdaptedModule {
  std::string module;  // "encoder.block.0.layer.0.SelfAttention.q"
  int64_t r = 8;
  double scale = 4;
};

// What the frozen weights are kept as. kInt8: linear layers only, a scale for each output; embeddings are bfloat16.
enum class BaseType { kFloat32, kBFloat16, kInt8 };

struct ModelOptions {
  bool full = false;  // every weight trains; otherwise the adapter
  std::vector<AdaptedModule> adapter;
  double adapter_dropout = 0;
  BaseType base_type = BaseType::kFloat32;  // kFloat32 in full-parameter mode
  double base_dropout = -1;                 // below 0: the config's rates
  // Frozen linear layers are kept laid out for products: faster on a CPU, and in training for twice their memory.
  // A bf16 base's steps then also read a copy of the head in bf16.
  bool prepack = false;
  // Where the weights, the flat vectors and all that is computed are.
  c10::Device device = c10::kCPU;
  // Layers keep their inputs only and are computed again in the backward pass: less memory for a third more time.
  bool gradient_checkpointing = false;
  // Told of every tensor of the checkpoint that is not looked at again, or seldom: pages of a map may go.
  std::function<void(const at::Tensor&)> converted = {};
};

// Records laid end to end; int32 ids on the host. A record's dropout key goes with it. What labels are depends on the
// family: T5, the decoder's targets; decoder, parallel to the inputs, each predicted from the tokens before it;
// encoder, one for each record, the index of its candidate. -100: not predicted.
struct Batch {
  std::vector<int32_t> input_ids;
  std::vector<int32_t> input_lengths;
  std::vector<int32_t> labels;
  std::vector<int32_t> label_lengths;
  std::vector<uint32_t> record_keys;
  std::vector<int32_t> candidate_ids;  // encoder only
  std::vector<int32_t> candidate_lengths;
};

struct AccumulateOptions {
  double divisor = 1;     // label tokens of the whole step
  double loss_scale = 1;  // of the backward pass only
  bool dropout = false;
  DropoutCounters counters;
  // One for each row of the adapter's tensors, in the order of layout(): the sum over tokens of that output's absolute
  // value, before the scale, is added. Undefined: not wanted.
  at::Tensor output_sums;
  // Room of a StepReport beside the weights, which the losses are added to: nothing then waits for the device.
  // Undefined: they are read.
  at::Tensor report;
  AbortFlag abort;
};

// What keeps an adapter's A apart from those of the frozen ones: see penalties.h.
struct Orthogonality {
  enum class Form { kAbsolute, kSquared };
  double l1 = 0;
  double l2 = 0;
  Form form = Form::kAbsolute;
};

struct LossReport {
  double loss_sum = 0;  // NaN where AccumulateOptions::report has it
  int64_t label_tokens = 0;
};

// The smallest set of most probable tokens that reaches top_p is drawn from, at softmax(logits / temperature). Draws
// are a function of (seed, the prompt's key, step).
struct Sampling {
  double temperature = 1;  // above 0
  double top_p = 1;        // above 0, at most 1
  uint64_t seed = 0;
  std::vector<uint32_t> keys;  // one for each prompt; empty: their indices
};

struct GenerateOptions {
  std::vector<int32_t> input_ids;
  std::vector<int32_t> input_lengths;
  int64_t max_new_tokens = 1;
  int64_t min_new_tokens = 0;
  std::vector<int32_t> end_token_ids;  // empty: never stop early
  std::optional<Sampling> sampling;    // none: greedy
  // Prompts that are computed, and answered, at a time: most tokens of them (a longer prompt goes alone), and most
  // prompts. 0: no limit. Where answers end, the next prompts take their place, the longest first.
  int64_t batch_tokens = 0;
  int64_t batch_rows = 0;
  // Told the new tokens after every step: indices of the prompts that got one, and the tokens.
  std::function<void(const std::vector<int32_t>& prompts, const std::vector<int32_t>& tokens)> on_tokens = {};
  // Told after that which answers have ended.
  std::function<void(const std::vector<int32_t>& prompts)> on_ended = {};
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
  // Sum of the cross entropies of each record's labels; no dropout, no gradients.
  virtual std::vector<double> loss(const Batch&, const AbortFlag&) = 0;
  // fp32. T5: of all label positions, [label tokens, vocabulary]; decoder: of all tokens, [tokens, vocabulary];
  // encoder: [records, candidates].
  virtual at::Tensor logits(const Batch&) = 0;
  // New tokens of each prompt, up to and including the end token. std::invalid_argument from a family that cannot.
  virtual std::vector<std::vector<int32_t>> generate(const GenerateOptions&) = 0;
  // Sum of log p(token | prompt, earlier tokens) of each option. std::invalid_argument likewise.
  virtual std::vector<double> score_options(const ScoreOptions&) = 0;
  // Unit vectors of texts, [texts, width]. std::invalid_argument likewise.
  virtual at::Tensor embed(const std::vector<int32_t>& input_ids, const std::vector<int32_t>& input_lengths,
                           const AbortFlag&) = 0;
  // LoRA only, all of the following.
  // Keeps a copy of the adapter as it is as a part of the model, beside those frozen before.
  virtual void freeze_adapter() = 0;
  // The frozen adapters one after another, each laid out as parameters(); and others, or none, in their place.
  virtual at::Tensor frozen() const = 0;
  virtual void set_frozen(const at::Tensor& values) = 0;
  // Penalties: see penalties.h. They add to gradients() and return their value.
  virtual double add_orthogonality_gradient(const Orthogonality&) = 0;
  virtual double add_overlap_gradient(double weight) = 0;
  // W with the adapters folded in in place of W, and back to the same bits.
  virtual void merge_adapter() = 0;
  virtual void unmerge_adapter() = 0;

 protected:
  std::vector<TensorLayout> layout_;
  at::Tensor parameters_;
  at::Tensor gradients_;
};

}  // namespace rkif
