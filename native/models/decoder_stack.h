// A decoder's layers over packed tokens.
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "models/attention.h"
#include "models/decoder.h"
#include "models/key_value_cache.h"
#include "models/linear.h"
#include "models/parameters.h"

namespace rkif {

// What one forward pass needs beside its tokens.
struct DecoderPass {
  // Rates of 0: no dropout.
  double attention_rate = 0;
  double adapter_rate = 0;
  DropoutCounters counters;
  AbortFlag abort;
  bool checkpointing = false;  // see checkpointed.h
};

// The rows that attend, and what belongs to each of them.
struct DecoderRows {
  Rotation places;
  Spans spans;
  std::shared_ptr<const RowPlaces> dropout;  // null: none
};

// Where the states of some rows alone are wanted: what the last layer computes behind its keys and values.
struct LastRows {
  DecoderRows attending;
  at::Tensor rows;    // `attending`, among all; undefined: all of them attend
  at::Tensor chosen;  // those that are wanted, among them; undefined: all
};

struct DecoderInput {
  at::Tensor ids;
  DecoderRows rows;
  std::shared_ptr<const LastRows> last;  // null: all states are wanted
  // Where keys and values of this call go: the runs say which are a prompt's and which an answer's. The spans' keys are
  // those of answers then, and their prefixes those of prompts. null: keys are this call's own, without prefixes.
  KeyValueStore* prompts = nullptr;
  KeyValueStore* answers = nullptr;
  RowRuns prompt_runs, answer_runs;
  // What several prompts begin with, which is computed once. Where it goes in the call that computes it, and from there
  // to the prompts that begin with it. null: nothing is shared.
  KeyValueStore* shared = nullptr;
  RowRuns shared_runs, repeated_runs;
};

class DecoderStack {
 public:
  explicit DecoderStack(const DecoderConfig& config);
  DecoderStack(const DecoderStack&) = delete;

  void list(SlotList& slots);
  // States after the final norm, [tokens that are wanted, hidden size].
  at::Tensor run(const DecoderInput& input, const at::Tensor& embedding, const DecoderPass& pass) const;
  int64_t key_width() const { return config_.num_key_value_heads * config_.head_size; }

 private:
  struct Block {
    at::Tensor input_norm;
    Linear q, k, v, o;
    at::Tensor query_norm, key_norm;  // undefined: none
    at::Tensor feed_forward_norm;
    Linear gate, up, down;
  };

  Dropout adapter_place(const DecoderPass& pass, const DecoderRows& rows, size_t layer, uint32_t site) const;
  // A projection with every head normed, where the model has that, and rotated.
  at::Tensor rotated_heads(const at::Tensor& projected, int64_t heads, const at::Tensor& norm,
                           const Rotation& places) const;
  RmsNormed normed(const at::Tensor& x, const at::Tensor& weight) const;
  // Of the rows that attend, `attending`. `x`: all rows.
  at::Tensor attention(const RmsNormed& x, const RmsNormed& attending, const DecoderInput& input, const LastRows* last,
                       const DecoderPass& pass, size_t layer) const;
  at::Tensor feed_forward(const RmsNormed& x, const DecoderRows& rows, const DecoderPass& pass, size_t layer) const;
  at::Tensor layer_of(const at::Tensor& x, const DecoderInput& input, const DecoderPass& pass, size_t layer) const;

  const DecoderConfig config_;
  std::vector<Block> blocks_;
  at::Tensor final_norm_;
};

}  // namespace rkif
