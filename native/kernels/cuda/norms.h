#pragma once
#include "kernels/cuda/context.h"
#include "kernels/norms.h"

namespace rkif::cuda {

// As kernels/norms.h describes them.
void rms_norm(const Context& context, int64_t rows, int64_t columns, const float* x, const float* weight, float epsilon,
              float* out, Bfloat16* rounded, float* inverse);
template <class T>
void rms_norm_gradient(const Context& context, int64_t rows, int64_t columns, const float* x, const float* weight,
                       const float* inverse, const Parts<T>& g, float* dx);
void add_rms_norm_weight_gradient(const Context& context, int64_t rows, int64_t columns, const float* x,
                                  const float* inverse, const float* g, float* dweight);
void layer_norm(const Context& context, int64_t rows, int64_t columns, const float* x, const float* weight,
                const float* bias, float epsilon, float* out, Moments* moments);
void layer_norm_gradient(const Context& context, int64_t rows, int64_t columns, const float* x, const float* weight,
                         const Moments* moments, const float* g, float* dx);
void add_layer_norm_parameter_gradients(const Context& context, int64_t rows, int64_t columns, const float* x,
                                        const Moments* moments, const float* g, float* dweight, float* dbias);

}  // namespace rkif::cuda
