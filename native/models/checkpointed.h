// Gradient checkpointing (Chen et al., arXiv 1604.06174): a part of the forward pass that keeps its inputs only, and is
// computed again in the backward pass.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <functional>

namespace rkif {

// Differentiable inputs of a part; those it does not use are undefined.
using PartInputs = std::array<at::Tensor, 3>;
using Part = std::function<at::Tensor(const PartInputs&)>;

// part(inputs). With `enabled`, and where an input is on a graph, nothing within the part is kept for the backward
// pass, which calls it again: what it refers to has to live until then, and it has to compute the same (dropout from
// counters does). Gradients of leaves within the part are added as ever. Where a part uses an input twice, gradients to
// it are summed in another order than without.
at::Tensor checkpointed(bool enabled, const Part& part, const PartInputs& inputs);

// Whether this thread is computing a part again: what is counted in the forward pass has been counted before.
bool computing_again();

}  // namespace rkif
