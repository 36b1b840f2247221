#include "models/t5_stack.h"

#include "models/absorbed_attention.h"
#include "models/embedding.h"
#include "models/norm.h"

namespace rkif {
namespace {

// Places of dropout within a layer. The numbers are part of what a saved run means: a site never changes its number.
enum Site : uint32_t {
  kEmbedding = 0,
  kSelfProbabilities = 1,
  kSelfOutput = 2,
  kCrossProbabilities = 3,
  kCrossOutput = 4,
  kFeedForwardInside = 5,
  kFeedForwardOutput = 6,
  kFinal = 7,
  // Adapters' inputs.
  kSelfQ = 32,
  kSelfK = 33,
  kSelfV = 34,
  kSelfO = 35,
  kCrossQ = 36,
  kCrossK = 37,
  kCrossV = 38,
  kCrossO = 39,
  kWi = 40,
  kWi1 = 41,
  kWo = 42,
};
constexpr uint32_t kCrossOffset = kCrossQ - kSelfQ;

// The stack is in bit 24.
uint32_t stack_site(bool decoder, int64_t layer, uint32_t site) {
  return (decoder ? 1u << 24 : 0u) | site_number(layer, site);
}

}  // namespace

T5Stack::T5Stack(const T5Config& config, bool decoder)
    : config_(config),
      decoder_(decoder),
      buckets_(!decoder, config.relative_attention_num_buckets, config.relative_attention_max_distance),
      blocks_(decoder ? config.num_decoder_layers : config.num_layers) {
  // Absorbed as they are.
  for (Block& block : blocks_) block.cross.k.stays_plain = block.cross.v.stays_plain = true;
}

void T5Stack::list(SlotList& slots) {
  const T5Config& c = config_;
  int64_t inner = c.num_heads * c.d_kv;
  std::string stack = decoder_ ? "decoder" : "encoder";
  auto norm = [&](const std::string& module, at::Tensor& tensor) {
    slots.small(module + ".weight", {c.d_model}, tensor);
  };
  auto attention = [&](const std::string& module, Attention& layer) {
    slots.linear(module + ".q", inner, c.d_model, layer.q);
    slots.linear(module + ".k", inner, c.d_model, layer.k);
    slots.linear(module + ".v", inner, c.d_model, layer.v);
    slots.linear(module + ".o", c.d_model, inner, layer.o);
  };
  for (size_t i = 0; i < blocks_.size(); ++i) {
    Block& block = blocks_[i];
    std::string prefix = stack + ".block." + std::to_string(i) + ".layer.";
    attention(prefix + "0.SelfAttention", block.self);
    if (i == 0) {
      slots.small(prefix + "0.SelfAttention.relative_attention_bias.weight",
                  {c.relative_attention_num_buckets, c.num_heads}, relative_bias_);
    }
    norm(prefix + "0.layer_norm", block.self_norm);
    if (decoder_) {
      attention(prefix + "1.EncDecAttention", block.cross);
      norm(prefix + "1.layer_norm", block.cross_norm);
    }
    std::string last = prefix + (decoder_ ? "2" : "1");
    slots.linear(last + (c.gated ? ".DenseReluDense.wi_0" : ".DenseReluDense.wi"), c.d_ff, c.d_model, block.wi);
    if (c.gated) slots.linear(last + ".DenseReluDense.wi_1", c.d_ff, c.d_model, block.wi_1);
    slots.linear(last + ".DenseReluDense.wo", c.d_model, c.d_ff, block.wo);
    norm(last + ".layer_norm", block.feed_forward_norm);
  }
  norm(stack + ".final_layer_norm", final_norm_);
}

Dropout T5Stack::place(const T5Pass& pass, int64_t layer, uint32_t site) const {
  return dropout_at(pass.rate, pass.counters, stack_site(decoder_, layer, site),
                    decoder_ ? pass.decoder_rows : pass.encoder_rows);
}

Dropout T5Stack::adapter_place(const T5Pass& pass, int64_t layer, uint32_t site, bool encoder_rows) const {
  return dropout_at(pass.adapter_rate, pass.counters, stack_site(decoder_, layer, site),
                    encoder_rows ? pass.encoder_rows : pass.decoder_rows);
}

AttentionDropout T5Stack::probabilities(const T5Pass& pass, int64_t layer, uint32_t site) const {
  return attention_dropout_at(pass.rate, pass.counters, stack_site(decoder_, layer, site));
}

at::Tensor T5Stack::embedded(const at::Tensor& ids, const at::Tensor& embedding, const T5Pass& pass) const {
  return dropout(embed(ids, embedding), place(pass, 0, kEmbedding));
}

RmsNormed T5Stack::normed(const at::Tensor& x, const at::Tensor& weight) const {
  return {x, weight, config_.layer_norm_epsilon};
}

at::Tensor T5Stack::finished(const at::Tensor& x, const T5Pass& pass) const {
  return dropout(rms_norm(x, final_norm_, config_.layer_norm_epsilon), place(pass, 0, kFinal));
}

KeyValues T5Stack::key_values(const at::Tensor& states, const T5Pass& pass, int64_t layer) const {
  const Attention& weights = blocks_[layer].cross;
  auto place = [&](uint32_t site) { return adapter_place(pass, layer, site, true); };
  std::vector<at::Tensor> both = linear_group(states, {{&weights.k, place(kCrossK)}, {&weights.v, place(kCrossV)}});
  return {both[0], both[1]};
}

T5Stack::Projections T5Stack::projections(const RmsNormed& x, const T5Pass& pass, int64_t layer) const {
  const Attention& weights = blocks_[layer].self;
  auto place = [&](uint32_t site) { return adapter_place(pass, layer, site, !decoder_); };
  std::vector<at::Tensor> all =
      linear_group(x, {{&weights.q, place(kSelfQ)}, {&weights.k, place(kSelfK)}, {&weights.v, place(kSelfV)}});
  return {all[0], {all[1], all[2]}};
}

at::Tensor T5Stack::attention(const at::Tensor& q, const T5Keys& to, const AttentionBias& bias, const Spans& spans,
                              const T5Pass& pass, int64_t layer, bool cross) const {
  const Attention& weights = cross ? blocks_[layer].cross : blocks_[layer].self;
  uint32_t offset = cross ? kCrossOffset : 0;
  // T5 folds the scale of the scores into its initialisation: none here.
  AttentionPlace at = attention_place(weights.q, config_.num_heads, spans,
                                      probabilities(pass, layer, cross ? kCrossProbabilities : kSelfProbabilities));
  at.causal = decoder_ && !cross;
  at::Tensor mixed;
  if (to.absorbed_in_training) {
    mixed = attend_absorbed(q, to.keys.keys, {&weights.k, adapter_place(pass, layer, kSelfK + offset, true)},
                            {&weights.v, adapter_place(pass, layer, kSelfV + offset, true)}, at);
  } else {
    at.prefix_keys = to.keys.keys;
    at.prefix_values = to.keys.values;
    if (to.absorbed) at.key_heads = 1;
    mixed = attend(to.absorbed ? to.absorbed->queries(q) : q, to.keys.keys, to.keys.values, bias, at);
    if (to.absorbed) mixed = to.absorbed->values(mixed);
  }
  return linear_as_stored(mixed, weights.o, adapter_place(pass, layer, kSelfO + offset, !decoder_));
}

at::Tensor T5Stack::self_attention(const RmsNormed& x, const T5DecoderInput* kept, const AttentionBias& bias,
                                   const Spans& spans, const T5Pass& pass, int64_t layer) const {
  Projections own = projections(x, pass, layer);
  if (kept) {
    kept->answers->write(layer, own.keys, *kept->answer_runs);
    own.keys = kept->answers->layers()[layer];
  }
  return attention(own.q, {own.keys}, bias, spans, pass, layer, false);
}

at::Tensor T5Stack::feed_forward(const at::Tensor& x, const T5Pass& pass, int64_t layer) const {
  const Block& block = blocks_[layer];
  const bool narrow = block.wi.narrow() && block.wo.narrow() && (!config_.gated || block.wi_1.narrow());
  auto place_of = [&](uint32_t site) { return adapter_place(pass, layer, site, !decoder_); };
  std::vector<LinearUse> uses = {{&block.wi, place_of(kWi), narrow}};
  if (config_.gated) uses.push_back({&block.wi_1, place_of(kWi1), narrow});
  std::vector<at::Tensor> products = linear_group(normed(x, block.feed_forward_norm), uses);
  at::Tensor inside = activate(config_.activation, products[0], config_.gated ? products[1] : at::Tensor(),
                               place(pass, layer, kFeedForwardInside));
  products.clear();
  at::Tensor out = linear_as_stored(inside, block.wo, adapter_place(pass, layer, kWo, !decoder_));
  return add_dropped(x, out, place(pass, layer, kFeedForwardOutput), pass.abort);
}

at::Tensor T5Stack::encode(const T5EncoderInput& input, const at::Tensor& embedding, const T5Pass& pass) const {
  at::Tensor x = embedded(input.ids, embedding, pass);
  for (size_t layer = 0; layer < blocks_.size(); ++layer) {
    // By value: the backward pass may call it when this function has returned.
    auto block = [=, this, spans = input.spans, reach = input.bias.reach](const PartInputs& inputs) {
      at::Tensor out =
          self_attention(normed(inputs[0], blocks_[layer].self_norm), nullptr, {inputs[2], reach}, spans, pass, layer);
      return feed_forward(add_dropped(inputs[0], out, place(pass, layer, kSelfOutput), pass.abort), pass, layer);
    };
    x = checkpointed(pass.checkpointing, block, {x, {}, input.bias.table});
  }
  return finished(x, pass);
}

at::Tensor T5Stack::decoder_block(const PartInputs& inputs, const T5DecoderInput& input, const T5Keys& cross,
                                  const T5Pass& pass, size_t layer) const {
  const auto& [before, states, table] = inputs;
  const Block& block = blocks_[layer];
  at::Tensor out = self_attention(normed(before, block.self_norm), input.answers ? &input : nullptr,
                                  {table, input.bias.reach}, input.self, pass, static_cast<int64_t>(layer));
  at::Tensor x = add_dropped(before, out, place(pass, layer, kSelfOutput), pass.abort);

  const T5Keys to = cross.keys.keys.defined() ? cross : cross_keys(states, input, pass, layer);
  const LinearUse query{&block.cross.q, adapter_place(pass, layer, kCrossQ, !decoder_)};
  at::Tensor q = linear_group(normed(x, block.cross_norm), {query})[0];
  out = attention(q, to, {}, input.cross, pass, layer, true);
  x = add_dropped(x, out, place(pass, layer, kCrossOutput), pass.abort);
  return feed_forward(x, pass, layer);
}

at::Tensor T5Stack::decode(const T5DecoderInput& input, const at::Tensor& states, const std::vector<T5Keys>& cross,
                           const at::Tensor& embedding, const T5Pass& pass) const {
  at::Tensor x = embedded(input.ids, embedding, pass);
  for (size_t layer = 0; layer < blocks_.size(); ++layer) {
    // By value, as in encode().
    auto block = [=, this, own = cross.empty() ? T5Keys{} : cross[layer]](const PartInputs& inputs) {
      return decoder_block(inputs, input, own, pass, layer);
    };
    x = checkpointed(pass.checkpointing, block, {x, states, input.bias.table});
  }
  return finished(x, pass);
}

void T5Stack::keep_cross_keys(const at::Tensor& states, const RowRunList& runs, const T5Pass& pass,
                              KeyValueStore& into) const {
  for (size_t layer = 0; layer < blocks_.size(); ++layer) {
    check_abort(pass.abort);
    into.write(layer, key_values(states, pass, layer), runs);
  }
}

std::vector<T5Keys> T5Stack::cross_of(const KeyValueStore& store) const {
  std::vector<T5Keys> layers;
  for (const KeyValues& layer : store.layers()) layers.push_back({layer});
  return layers;
}

std::vector<T5Keys> T5Stack::absorbed_cross(const at::Tensor& states) const {
  std::vector<T5Keys> layers;
  for (const Block& block : blocks_) layers.push_back(absorbed(block, states));
  return layers;
}

T5Keys T5Stack::cross_keys(const at::Tensor& states, const T5DecoderInput& input, const T5Pass& pass,
                           int64_t layer) const {
  const Block& block = blocks_[layer];
  if (input.absorbs) return absorbed(block, states);
  if (input.absorbs_in_training && can_be_absorbed(block.cross.k) && can_be_absorbed(block.cross.v)) {
    return {{states, states}, nullptr, true};
  }
  return {key_values(states, pass, layer)};
}

T5Keys T5Stack::absorbed(const Block& block, const at::Tensor& states) const {
  return {{states, states}, std::make_shared<AbsorbedKeys>(block.cross.k, block.cross.v, config_.num_heads)};
}

}  // namespace rkif
