#pragma once
#include "kernels/cuda/context.h"
#include "kernels/dropout.h"

namespace rkif::cuda {

// keys[i] = dropout_row(site_key, records[i], positions[i]).
void dropout_keys(const Context& context, int64_t rows, uint64_t site_key, const uint32_t* records,
                  const uint32_t* positions, DropoutRow* keys);
// `out` may be `in`.
void dropout_rows(const Context& context, const MaskedMatrix& shape, const float* in, float* out);

}  // namespace rkif::cuda
