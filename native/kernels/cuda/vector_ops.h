// Launchers of kernels/vector_ops.h on the GPU; all pointers are the device's.
#pragma once
#include "kernels/cuda/context.h"
#include "kernels/vector_ops.h"

namespace rkif::cuda {

void difference(const Context& context, int64_t n, const float* a, const float* b, float* out);
void add_scaled(const Context& context, int64_t n, float* x, const float* y, float scale);
void add_product(const Context& context, int64_t n, float* x, const float* a, const float* b, float scale);
void scale(const Context& context, int64_t n, float* x, float factor);
void product(const Context& context, int64_t n, const float* a, const float* b, float* out);
void norm(const Context& context, int64_t n, const float* x, Norm* result);

}  // namespace rkif::cuda
