// Penalties that keep a task's adapter out of the way of the frozen ones, with their gradients.
#pragma once
#include "models/linear.h"
#include "models/model.h"

namespace rkif {

// Both return the penalty of one adapted layer and add its gradient to those of A and B.

// l1 * the sum over entries of |F A^T| (or of the squares), F the frozen A's, + l2 * (|A| + |B|), Frobenius norms.
// Where an absolute value or a norm is 0, its derivative counts as 0. O-LoRA: Wang et al., arXiv 2310.14152.
double add_orthogonality_gradient(const Linear& layer, const Orthogonality& penalty);

// weight * |W . F|^2, entry by entry: W = scale * B A, F the same of the frozen adapters together. ELLA: arXiv
// 2601.02232.
double add_overlap_gradient(const Linear& layer, double weight);

}  // namespace rkif
