// From the states of a text's tokens to one vector for the text.
#pragma once
#include <ATen/core/Tensor.h>

#include "models/packed.h"

namespace rkif {

// The mean of every text's rows divided by its length, or by 1e-12 where that is shorter. states: [tokens, d] fp32,
// every text at least one token long -> [texts, d].
at::Tensor mean_unit_vectors(const at::Tensor& states, const Sequences& texts);

}  // namespace rkif
