// An encoder's embeddings and layers over packed tokens.
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "models/attention.h"
#include "models/encoder.h"
#include "models/layer_norm.h"
#include "models/linear.h"
#include "models/parameters.h"

namespace rkif {

// What one forward pass needs beside its tokens.
struct EncoderPass {
  // Rates of 0: no dropout.
  double hidden_rate = 0;
  double attention_rate = 0;
  double adapter_rate = 0;
  DropoutCounters counters;
  AbortFlag abort;
  bool checkpointing = false;  // see checkpointed.h
  std::shared_ptr<const RowPlaces> rows;
};

class EncoderStack {
 public:
  explicit EncoderStack(const EncoderConfig& config);
  EncoderStack(const EncoderStack&) = delete;

  void list(SlotList& slots);
  // States after the last layer, [tokens, hidden size]. `keys`: of the texts, for dropout; may be empty without.
  at::Tensor run(const std::vector<int32_t>& ids, const Sequences& texts, const std::vector<uint32_t>& keys,
                 const EncoderPass& pass) const;

 private:
  struct Block {
    Linear q, k, v, o;
    LayerNorm attention_norm;
    Linear in, out;
    LayerNorm output_norm;
  };

  Dropout place(const EncoderPass& pass, size_t layer, uint32_t site) const;
  Dropout adapter_place(const EncoderPass& pass, size_t layer, uint32_t site) const;
  at::Tensor norm(const at::Tensor& x, const LayerNorm& norm) const;
  // `ids` and `rows`: of the tables of words and of positions.
  at::Tensor embedded(const at::Tensor& ids, const at::Tensor& rows, const EncoderPass& pass) const;
  at::Tensor attention(const at::Tensor& x, const Spans& spans, const EncoderPass& pass, size_t layer) const;
  at::Tensor feed_forward(const at::Tensor& x, const EncoderPass& pass, size_t layer) const;

  const EncoderConfig config_;
  at::Tensor words_, positions_, types_;  // types_ undefined: none
  LayerNorm embedding_norm_;
  std::vector<Block> blocks_;
};

}  // namespace rkif
