#include "models/absorbed_attention.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/head_products.h"
#include "models/autograd.h"
#include "models/device.h"
#include "models/low_rank_path.h"
#include "models/profile.h"

namespace rkif {
namespace {

int64_t rank_of(const Linear& layer) { return layer.adapter_active() ? layer.a.size(0) : 0; }

std::optional<at::Tensor> leaf(const Linear& layer, const at::Tensor& factor) {
  return layer.adapter_active() && tracks(factor) ? std::optional(factor) : std::nullopt;
}

// A layer's matrices by head, between what its heads are made of and rows of [x, h of keys, h of values], in which its
// own h begins at `column`.
struct HeadMatrices {
  const Linear* layer;
  int64_t heads;
  int64_t row;  // elements of [x, h of keys, h of values]
  int64_t column;

  HeadWeights weights() const {
    HeadWeights weights{heads, layer->weight.size(0) / heads, layer->weight.size(1)};
    TORCH_INTERNAL_ASSERT(layer->weight.is_contiguous());
    if (layer->weight.scalar_type() == at::kFloat) {
      weights.w = layer->weight.const_data_ptr<float>();
    } else {
      weights.narrow_w = bfloat16_values(layer->weight);
    }
    weights.rank = rank_of(*layer);
    if (weights.rank > 0) weights.b = layer->b.const_data_ptr<float>();
    weights.scale = layer->scale;
    weights.row = row;
    weights.column = column;
    return weights;
  }
  // [rows, heads * head size] -> [rows, heads * row]: times W and scale * B.
  at::Tensor spread(const at::Tensor& x) const {
    NamedWork work(kHeadProducts);
    const at::Tensor in = x.contiguous();
    at::Tensor spread = at::empty({in.size(0), heads * row}, in.options());
    spread_heads(weights(), in.size(0), in.const_data_ptr<float>(), spread.mutable_data_ptr<float>());
    return spread;
  }
  // [rows, heads * row] -> [rows, heads * head size]: times the transposed.
  at::Tensor gathered(const at::Tensor& spread) const {
    NamedWork work(kHeadProducts);
    const at::Tensor in = spread.contiguous();
    at::Tensor gathered = at::empty({in.size(0), layer->weight.size(0)}, in.options());
    gather_heads(weights(), in.size(0), in.const_data_ptr<float>(), gathered.mutable_data_ptr<float>());
    return gathered;
  }
  // Adds the gradient of B, where x became `spread`, or the other way round; one of the two is a gradient. `of_own`:
  // own(spread).
  void add_gradient(const at::Tensor& x, const at::Tensor& of_own) const {
    NamedWork work(kHeadProducts);
    const at::Tensor in = x.contiguous();
    add_head_gradient(weights(), in.size(0), in.const_data_ptr<float>(),
                      {of_own.const_data_ptr<float>(), of_own.stride(0), of_own.stride(1)},
                      layer->b.grad().mutable_data_ptr<float>());
  }
  // [rows, heads, rank] of rows that are spread.
  at::Tensor own(const at::Tensor& spread) const {
    return spread.view({spread.size(0), heads, row}).narrow(2, column, rank_of(*layer));
  }
};

struct HeadsKept {
  HeadMatrices matrices;
  bool spreads;
  at::Tensor of_b;  // what the gradient of B needs of the input; undefined: not wanted
};

// spread(), or gathered(): each is the other's gradient.
struct HeadsFunction : torch::autograd::Function<HeadsFunction> {
  // The leaf, here and below, puts the output on the graph where the input is not.
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const std::optional<at::Tensor>& b,
                            const HeadMatrices& matrices, bool spreads) {
    at::Tensor of_b;
    if (b) of_b = spreads ? values_of(x) : matrices.own(values_of(x)).contiguous();
    keep(context, HeadsKept{matrices, spreads, of_b});
    return spreads ? matrices.spread(x) : matrices.gathered(x);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto [matrices, spreads, of_b] = take<HeadsKept>(context);
    const at::Tensor given = gradients[0].contiguous();
    if (of_b.defined()) {
      matrices.add_gradient(spreads ? of_b : given, spreads ? matrices.own(given) : of_b);
    }
    at::Tensor of_x;
    if (context->needs_input_grad(0)) of_x = spreads ? matrices.gathered(given) : matrices.spread(given);
    return {of_x, {}, {}, {}};
  }
};

at::Tensor by_matrices(const at::Tensor& x, const HeadMatrices& matrices, bool spreads) {
  const std::optional<at::Tensor> b = leaf(*matrices.layer, matrices.layer->b);
  if (b || tracks(x)) return HeadsFunction::apply(x, b, matrices, spreads);
  return spreads ? matrices.spread(x) : matrices.gathered(x);
}

// h = A dropout(x) of a layer, by the kernels of the low-rank path with a B that is the identity.
class Hidden {
 public:
  Hidden(const Linear& layer, const Dropout& place, const at::Tensor& states)
      : layer_(layer),
        same_(at::eye(rank_of(layer), layer.a.options().requires_grad(false))),
        path_(layer.a, same_, 1, place, states) {}

  at::Tensor of(const at::Tensor& states) const {
    at::Tensor hidden = at::zeros({states.size(0), rank_of(layer_)}, same_.options());
    path_.add_to(hidden, states, nullptr);
    return hidden;
  }
  // Adds the gradient of A and, where it is wanted, of the states.
  void backward(const at::Tensor& states, const at::Tensor& gradient, float* of_states) const {
    const at::Tensor unused = at::zeros_like(same_);  // the gradient of the identity
    LowRankGradients into;
    into.x = of_states;
    into.a = layer_.a.grad().mutable_data_ptr<float>();
    into.b = unused.mutable_data_ptr<float>();
    const float* of_unused = gradient.const_data_ptr<float>();
    path_.backward(states.const_data_ptr<float>(), of_unused, gradient, into);
  }

 private:
  const Linear& layer_;
  const at::Tensor same_;
  const LowRankPath path_;
};

struct ExtendedKept {
  at::Tensor states;
  std::vector<AbsorbedLayer> layers;
};

// The states with the h of the layers beside them.
at::Tensor extended_values(const at::Tensor& states, const std::vector<AbsorbedLayer>& layers) {
  const int64_t width = states.size(1);
  int64_t row = width;
  for (const AbsorbedLayer& of : layers) row += rank_of(*of.layer);
  at::Tensor extended = at::empty({states.size(0), row}, states.options());
  extended.narrow(1, 0, width).copy_(states);
  int64_t column = width;
  for (const AbsorbedLayer& of : layers) {
    const int64_t rank = rank_of(*of.layer);
    extended.narrow(1, column, rank).copy_(Hidden(*of.layer, of.adapter_dropout, states).of(states));
    column += rank;
  }
  return extended;
}

struct Extended : torch::autograd::Function<Extended> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& states, const std::optional<at::Tensor>& a,
                            const std::optional<at::Tensor>& second_a, const std::vector<AbsorbedLayer>& layers) {
    keep(context, ExtendedKept{values_of(states), layers});
    return extended_values(states, layers);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const ExtendedKept kept = take<ExtendedKept>(context);
    const at::Tensor& given = gradients[0];
    const int64_t width = kept.states.size(1);
    at::Tensor of_states;
    if (context->needs_input_grad(0)) of_states = given.narrow(1, 0, width).contiguous();
    int64_t column = width;
    for (const AbsorbedLayer& of : kept.layers) {
      const int64_t rank = rank_of(*of.layer);
      Hidden(*of.layer, of.adapter_dropout, kept.states)
          .backward(kept.states, given.narrow(1, column, rank).contiguous(),
                    of_states.defined() ? of_states.mutable_data_ptr<float>() : nullptr);
      column += rank;
    }
    return {of_states, {}, {}, {}};
  }
};

at::Tensor extended(const at::Tensor& states, const AbsorbedLayer& keys, const AbsorbedLayer& values) {
  std::vector<AbsorbedLayer> layers;
  for (const AbsorbedLayer& of : {keys, values}) {
    if (rank_of(*of.layer) > 0) layers.push_back(of);
  }
  if (layers.empty()) return states;
  const std::optional<at::Tensor> a = leaf(*keys.layer, keys.layer->a), second_a = leaf(*values.layer, values.layer->a);
  if (!a && !second_a && !tracks(states)) return extended_values(states, layers);
  return Extended::apply(states, a, second_a, layers);
}

// The heads of a query as rows of one head.
AttentionPlace in_rows(const AttentionPlace& place) {
  std::vector<AttentionSpan> spans = place.spans->spans();
  for (AttentionSpan& span : spans) {
    span.query_start *= place.heads;
    span.query_length *= place.heads;
  }
  AttentionPlace rows = place;
  rows.heads = 1;
  rows.row_heads = place.heads;
  rows.spans = std::make_shared<SpanList>(std::move(spans));
  return rows;
}

}  // namespace

bool can_be_absorbed(const Linear& layer) {
  return layer.weight.defined() && !layer.weight.requires_grad() && !layer.scales.defined() && !layer.bias.defined() &&
         !(layer.adapter_active() && (layer.has_frozen() || layer.a_sums.defined()));
}

at::Tensor attend_absorbed(const at::Tensor& q, const at::Tensor& states, const AbsorbedLayer& keys,
                           const AbsorbedLayer& values, const AttentionPlace& place) {
  TORCH_CHECK(can_be_absorbed(*keys.layer) && can_be_absorbed(*values.layer),
              "absorbed attention: layers that cannot be absorbed");
  TORCH_CHECK(!place.causal && place.window == 0 && !place.prefix_keys.defined() && place.key_heads == 0,
              "absorbed attention: a place that is causal, has a window or a prefix, or shares keys");
  const at::Tensor x = states.contiguous();
  const int64_t width = x.size(1), rank_of_keys = rank_of(*keys.layer);
  const int64_t row = width + rank_of_keys + rank_of(*values.layer);
  const at::Tensor attended = extended(x, keys, values);
  const at::Tensor wide = by_matrices(q, {keys.layer, place.heads, row, width}, true);
  const at::Tensor mixed =
      attend(wide.view({-1, row}), attended, attended, {}, in_rows(place)).view({q.size(0), place.heads * row});
  return by_matrices(mixed, {values.layer, place.heads, row, width + rank_of_keys}, false);
}

bool absorbing_pays(const Sequences& queries, const Sequences& states, int64_t head_size, int64_t width,
                    const at::Tensor& like) {
  if (!reads_host_memory(like.device()) || states.tokens < std::max<int64_t>(512, width)) return false;
  int64_t pairs = 0, most = 0, attending = 0;
  for (int64_t i = 0; i < queries.count(); ++i) {
    const int64_t of_sequence = queries.lengths[i] * states.lengths[i];
    pairs += of_sequence;
    most = std::max(most, of_sequence);
    attending += of_sequence > 0;
  }
  // All heads of a sequence are one thread's.
  const int64_t threads = at::get_num_threads();
  if (attending < threads) return false;
  pairs = std::max(pairs, threads * most);
  // Kept are two rows of heads * width for a query instead of two of heads * head_size for a state.
  if (2 * queries.tokens * width > 3 * states.tokens * head_size) return false;
  // In units of heads * width multiply-adds, forward and backward: keys and values take 4 * states * head_size; queries
  // and mixtures 4 * queries * head_size, and attention 7 for every pair, at half of the pace. A third more pays.
  return 4 * queries.tokens * head_size + 14 * pairs <= 3 * states.tokens * head_size;
}

}  // namespace rkif
