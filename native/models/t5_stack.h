// T5's two stacks over packed tokens.
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <vector>

#include "models/absorbed_keys.h"
#include "models/attention.h"
#include "models/checkpointed.h"
#include "models/key_value_cache.h"
#include "models/parameters.h"
#include "models/relative_bias.h"
#include "models/t5.h"

namespace rkif {

// What one forward pass needs beside its tokens.
struct T5Pass {
  // Rates of 0: no dropout.
  double rate = 0;
  double adapter_rate = 0;
  DropoutCounters counters;
  AbortFlag abort;
  bool checkpointing = false;  // see checkpointed.h
  std::shared_ptr<const RowPlaces> encoder_rows;
  std::shared_ptr<const RowPlaces> decoder_rows;
};

struct T5EncoderInput {
  at::Tensor ids;
  Spans spans;
  AttentionBias bias;
};

struct T5DecoderInput {
  at::Tensor ids;
  Spans self;
  Spans cross;
  AttentionBias bias;
  // Where this call's keys and values go, and what its tokens attend to then; null: they attend to this call's own.
  KeyValueStore* answers = nullptr;
  RowRuns answer_runs;
  // Where keys and values of the encoder's states are to be computed layer by layer: absorb them instead.
  bool absorbs = false;
  // The same with gradients, where the layers can be absorbed so.
  bool absorbs_in_training = false;
};

// What a layer attends to: keys and values; or, across and where those are absorbed, the encoder's states as both.
struct T5Keys {
  KeyValues keys;
  std::shared_ptr<const AbsorbedKeys> absorbed = nullptr;
  bool absorbed_in_training = false;  // see absorbed_attention.h
};

class T5Stack {
 public:
  T5Stack(const T5Config& config, bool decoder);
  T5Stack(const T5Stack&) = delete;

  void list(SlotList& slots);
  AttentionBias bias(int64_t reach) const { return buckets_.bias(relative_bias_, reach); }

  // Both return the states after the final norm, [tokens, d_model].
  at::Tensor encode(const T5EncoderInput& input, const at::Tensor& embedding, const T5Pass& pass) const;
  // `cross`: what every layer attends to across, of cross_of() or absorbed_cross(); where empty, keys and values are
  // computed from `states`, layer by layer.
  at::Tensor decode(const T5DecoderInput& input, const at::Tensor& states, const std::vector<T5Keys>& cross,
                    const at::Tensor& embedding, const T5Pass& pass) const;
  void keep_cross_keys(const at::Tensor& states, const RowRunList& runs, const T5Pass& pass, KeyValueStore& into) const;
  // Of every layer: the keys and values that keep_cross_keys() writes into the store, or the states themselves.
  std::vector<T5Keys> cross_of(const KeyValueStore& store) const;
  std::vector<T5Keys> absorbed_cross(const at::Tensor& states) const;

 private:
  struct Attention {
    Linear q, k, v, o;
  };
  struct Block {
    Attention self;
    at::Tensor self_norm;
    Attention cross;
    at::Tensor cross_norm;
    Linear wi, wi_1, wo;  // gated: wi is the file's wi_0
    at::Tensor feed_forward_norm;
  };

  Dropout place(const T5Pass& pass, int64_t layer, uint32_t site) const;
  Dropout adapter_place(const T5Pass& pass, int64_t layer, uint32_t site, bool encoder_rows) const;
  AttentionDropout probabilities(const T5Pass& pass, int64_t layer, uint32_t site) const;
  at::Tensor embedded(const at::Tensor& ids, const at::Tensor& embedding, const T5Pass& pass) const;
  RmsNormed normed(const at::Tensor& x, const at::Tensor& weight) const;
  at::Tensor finished(const at::Tensor& x, const T5Pass& pass) const;
  T5Keys absorbed(const Block& block, const at::Tensor& states) const;
  // What a layer attends to across where nothing has been computed before.
  T5Keys cross_keys(const at::Tensor& states, const T5DecoderInput& input, const T5Pass& pass, int64_t layer) const;
  // Across.
  KeyValues key_values(const at::Tensor& states, const T5Pass& pass, int64_t layer) const;
  // What a layer's self-attention makes of its own rows.
  struct Projections {
    at::Tensor q;
    KeyValues keys;
  };
  Projections projections(const RmsNormed& x, const T5Pass& pass, int64_t layer) const;
  // `kept`: the decoder's input where keys and values are kept; null: the rows attend to their own.
  at::Tensor self_attention(const RmsNormed& x, const T5DecoderInput* kept, const AttentionBias& bias,
                            const Spans& spans, const T5Pass& pass, int64_t layer) const;
  at::Tensor attention(const at::Tensor& q, const T5Keys& to, const AttentionBias& bias, const Spans& spans,
                       const T5Pass& pass, int64_t layer, bool cross) const;
  // A layer of the decoder; `inputs`: its states, the encoder's, the table of the bias.
  at::Tensor decoder_block(const PartInputs& inputs, const T5DecoderInput& input, const T5Keys& cross,
                           const T5Pass& pass, size_t layer) const;
  at::Tensor feed_forward(const at::Tensor& x, const T5Pass& pass, int64_t layer) const;

  const T5Config config_;
  const bool decoder_;
  RelativeBuckets buckets_;
  std::vector<Block> blocks_;
  at::Tensor relative_bias_;
  at::Tensor final_norm_;
};

}  // namespace rkif
