// Adapters of earlier tasks: frozen, side by side along the rank of each layer, part of what the layer computes.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "models/linear.h"

namespace rkif {

// Appends a copy of every layer's A and B to its frozen ones. All layers or none.
void freeze_adapters(const std::vector<Linear*>& layers);

// The frozen adapters one after another, each laid out as the flat parameters: A and B of every layer in turn.
at::Tensor frozen_values(const std::vector<Linear*>& layers);

// These in place of the frozen ones; their number is a multiple of the parameters'. Copies.
void set_frozen_values(const std::vector<Linear*>& layers, const at::Tensor& values);

}  // namespace rkif
