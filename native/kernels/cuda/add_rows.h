#pragma once
#include "kernels/add_rows.h"
#include "kernels/cuda/context.h"

namespace rkif::cuda {

// As kernels/add_rows.h describes it, to the bit.
void add_rows(const Context& context, int64_t count, int64_t columns, const int32_t* ids, const float* rows,
              float* into);

}  // namespace rkif::cuda
