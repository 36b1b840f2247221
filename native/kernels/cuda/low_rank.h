#pragma once
#include "kernels/cuda/context.h"
#include "kernels/low_rank.h"

namespace rkif::cuda {

// As kernels/low_rank.h describes them. Sums over rows and columns run in an order that depends on the shape and on the
// card's number of multiprocessors alone.
void low_rank_forward(const Context& context, int64_t rows, const LowRank& layer, const float* x, float* y,
                      float* hidden, const Bfloat16* base = nullptr);
void low_rank_backward(const Context& context, int64_t rows, const LowRank& layer, const float* x, const float* hidden,
                       const float* dy, const LowRankGradients& into);

}  // namespace rkif::cuda
