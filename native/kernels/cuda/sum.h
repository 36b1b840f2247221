#pragma once
#include "kernels/cuda/context.h"
#include "kernels/sum.h"

namespace rkif::cuda {

// As kernels/sum.h describes it.
template <class T>
void sum_parts(const Context& context, int64_t n, const Parts<T>& parts, float* out);

}  // namespace rkif::cuda
