#include "models/decoder_stack.h"

#include <ATen/ops/index_select.h>

#include <cmath>

#include "models/checkpointed.h"
#include "models/embedding.h"
#include "models/norm.h"

namespace rkif {
namespace {

// Places of dropout within a layer. The numbers are part of what a saved run means: a site never changes its number.
enum Site : uint32_t {
  kProbabilities = 1,
  // Adapters' inputs.
  kQ = 32,
  kK = 33,
  kV = 34,
  kO = 35,
  kGate = 36,
  kUp = 37,
  kDown = 38,
};

}  // namespace

DecoderStack::DecoderStack(const DecoderConfig& config) : config_(config), blocks_(config.num_layers) {}

void DecoderStack::list(SlotList& slots) {
  const DecoderConfig& c = config_;
  const int64_t queries = c.num_heads * c.head_size, keys = key_width(), width = c.hidden_size;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    Block& block = blocks_[i];
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    const std::string attention = layer + "self_attn.", mlp = layer + "mlp.";
    slots.linear(attention + "q_proj", queries, width, block.q, c.query_key_value_bias);
    slots.linear(attention + "k_proj", keys, width, block.k, c.query_key_value_bias);
    slots.linear(attention + "v_proj", keys, width, block.v, c.query_key_value_bias);
    slots.linear(attention + "o_proj", width, queries, block.o, c.output_bias);
    if (c.query_key_norm) {
      slots.small(attention + "q_norm.weight", {c.head_size}, block.query_norm);
      slots.small(attention + "k_norm.weight", {c.head_size}, block.key_norm);
    }
    slots.linear(mlp + "gate_proj", c.intermediate_size, width, block.gate, c.mlp_bias);
    slots.linear(mlp + "up_proj", c.intermediate_size, width, block.up, c.mlp_bias);
    slots.linear(mlp + "down_proj", width, c.intermediate_size, block.down, c.mlp_bias);
    slots.small(layer + "input_layernorm.weight", {width}, block.input_norm);
    slots.small(layer + "post_attention_layernorm.weight", {width}, block.feed_forward_norm);
  }
  slots.small("model.norm.weight", {width}, final_norm_);
}

Dropout DecoderStack::adapter_place(const DecoderPass& pass, const DecoderRows& rows, size_t layer,
                                    uint32_t site) const {
  return dropout_at(pass.adapter_rate, pass.counters, site_number(layer, site), rows.dropout);
}

at::Tensor DecoderStack::rotated_heads(const at::Tensor& projected, int64_t heads, const at::Tensor& norm,
                                       const Rotation& places) const {
  at::Tensor x = projected;
  if (norm.defined()) {
    x = rms_norm(x.reshape({-1, config_.head_size}), norm, config_.norm_epsilon).view({-1, heads * config_.head_size});
  }
  return rotate(x, heads, places);
}

RmsNormed DecoderStack::normed(const at::Tensor& x, const at::Tensor& weight) const {
  return {x, weight, config_.norm_epsilon};
}

at::Tensor DecoderStack::attention(const RmsNormed& x, const RmsNormed& attending, const DecoderInput& input,
                                   const LastRows* last, const DecoderPass& pass, size_t layer) const {
  const DecoderConfig& c = config_;
  const Block& block = blocks_[layer];
  const DecoderRows &all = input.rows, &of_queries = last ? last->attending : all;
  const LinearUse query{&block.q, adapter_place(pass, of_queries, layer, kQ)};
  std::vector<LinearUse> uses = {{&block.k, adapter_place(pass, all, layer, kK)},
                                 {&block.v, adapter_place(pass, all, layer, kV)}};
  if (!last) uses.push_back(query);
  std::vector<at::Tensor> projected = linear_group(x, uses);
  at::Tensor q = last ? linear_group(attending, {query})[0] : projected[2];
  q = rotated_heads(q, c.num_heads, block.query_norm, of_queries.places);
  KeyValues keys{rotated_heads(projected[0], c.num_key_value_heads, block.key_norm, all.places), projected[1]};
  projected.clear();
  KeyValues prefix;
  if (input.prompts) {
    const auto of = static_cast<int64_t>(layer);
    if (input.shared) {
      input.shared->write(of, keys, *input.shared_runs);
      input.prompts->write(of, input.shared->layers()[layer], *input.repeated_runs);
    }
    input.prompts->write(of, keys, *input.prompt_runs);
    input.answers->write(of, keys, *input.answer_runs);
    prefix = input.prompts->layers()[layer];
    keys = input.answers->layers()[layer];
  }
  AttentionPlace place =
      attention_place(block.q, c.num_heads, of_queries.spans,
                      attention_dropout_at(pass.attention_rate, pass.counters, site_number(layer, kProbabilities)));
  place.key_heads = c.num_key_value_heads;
  place.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(c.head_size)));
  place.causal = true;
  place.window = c.windows[layer];
  place.prefix_keys = prefix.keys;
  place.prefix_values = prefix.values;
  at::Tensor mixed = attend(q, keys.keys, keys.values, {}, place);
  return linear_as_stored(mixed, block.o, adapter_place(pass, of_queries, layer, kO));
}

at::Tensor DecoderStack::feed_forward(const RmsNormed& x, const DecoderRows& rows, const DecoderPass& pass,
                                      size_t layer) const {
  const Block& block = blocks_[layer];
  const bool narrow = block.gate.narrow() && block.up.narrow() && block.down.narrow();
  std::vector<at::Tensor> products = linear_group(x, {{&block.gate, adapter_place(pass, rows, layer, kGate), narrow},
                                                      {&block.up, adapter_place(pass, rows, layer, kUp), narrow}});
  at::Tensor inside = activate(config_.activation, products[0], products[1], Dropout{});
  products.clear();
  return linear_as_stored(inside, block.down, adapter_place(pass, rows, layer, kDown));
}

at::Tensor DecoderStack::layer_of(const at::Tensor& x, const DecoderInput& input, const DecoderPass& pass,
                                  size_t layer) const {
  const Block& weights = blocks_[layer];
  const LastRows* last = layer + 1 == blocks_.size() ? input.last.get() : nullptr;
  if (last && !last->rows.defined()) last = nullptr;
  const at::Tensor attending = last ? at::index_select(x, 0, last->rows) : x;
  at::Tensor mixed =
      attention(normed(x, weights.input_norm), normed(attending, weights.input_norm), input, last, pass, layer);
  at::Tensor middle = add_dropped(attending, mixed, {}, pass.abort);
  at::Tensor out =
      feed_forward(normed(middle, weights.feed_forward_norm), last ? last->attending : input.rows, pass, layer);
  return add_dropped(middle, out, {}, pass.abort);
}

at::Tensor DecoderStack::run(const DecoderInput& input, const at::Tensor& embedding, const DecoderPass& pass) const {
  at::Tensor x = embed(input.ids, embedding);
  for (size_t layer = 0; layer < blocks_.size(); ++layer) {
    // By value: the backward pass may call it when this function has returned.
    auto block = [=, this](const PartInputs& inputs) { return layer_of(inputs[0], input, pass, layer); };
    x = checkpointed(pass.checkpointing, block, {x});
  }
  if (input.last && input.last->chosen.defined()) x = at::index_select(x, 0, input.last->chosen);
  return rms_norm(x, final_norm_, config_.norm_epsilon);
}

}  // namespace rkif
