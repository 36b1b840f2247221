// Attention to states whose keys and values are never made (absorbed_keys.h), in training: the layers of keys and
// values stay as they are, and their adapters get their gradients. With h = A dropout(x), an adapted layer is W x +
// scale B h: what attends are the states with the h of both layers beside them, [x, h of keys, h of values].
#pragma once
#include <ATen/core/Tensor.h>

#include "models/attention.h"
#include "models/linear.h"
#include "models/packed.h"

namespace rkif {

struct AbsorbedLayer {
  const Linear* layer;  // outlives the graph, as models own their layers
  Dropout adapter_dropout;
};

// Whether the layer can be absorbed so: its weight is frozen, fp32 or bf16 and plain, it has no bias, and no adapters
// beside its own, whose outputs nobody adds up.
bool can_be_absorbed(const Linear& layer);

// Whether it takes less time, forward and backward, and not much more memory, where every sequence of `queries` attends
// to the one of `states`, rows of `width`, beside it.
bool absorbing_pays(const Sequences& queries, const Sequences& states, int64_t head_size, int64_t width,
                    const at::Tensor& like);

// attend(q, linear(states, keys), linear(states, values), {}, place) up to rounding, dropout's masks being the same.
// For places that are not causal, without windows or prefixes. q: [query rows, heads * head size], states: [key rows,
// width].
at::Tensor attend_absorbed(const at::Tensor& q, const at::Tensor& states, const AbsorbedLayer& keys,
                           const AbsorbedLayer& values, const AttentionPlace& place);

}  // namespace rkif
