// nvcc: -fmad=false
#include "kernels/cuda/masked_elements.h"
#include "kernels/cuda/residual.h"

namespace rkif::cuda {
namespace {

template <class T>
struct AddResidual {
  Masks masks;
  const float* residual;
  const T* x;
  float* out;

  template <int kWidth>
  __device__ void at(int64_t first) const {
    const Wide<T, kWidth> in = load_wide<kWidth>(x + first);
    Wide<float, kWidth> sums = load_wide<kWidth>(residual + first);
    float values[kWidth];
    RKIF_UNROLL
    for (int i = 0; i < kWidth; ++i) values[i] = widened(in.at[i]);
    masks.apply(first, values);
    RKIF_UNROLL
    for (int i = 0; i < kWidth; ++i) sums.at[i] += values[i];
    store_wide(sums, out + first);
  }
};

template <class T>
struct ResidualGradient {
  Masks masks;
  const float* g;
  T* dx;

  template <int kWidth>
  __device__ void at(int64_t first) const {
    Wide<float, kWidth> values = load_wide<kWidth>(g + first);
    masks.apply(first, values.at);
    Wide<T, kWidth> out;
    RKIF_UNROLL
    for (int i = 0; i < kWidth; ++i) store(values.at[i], out.at[i]);
    store_wide(out, dx + first);
  }
};

}  // namespace

template <class T>
void add_residual(const Context& context, const MaskedMatrix& shape, const float* residual, const T* x, float* out) {
  const AddResidual<T> body{Masks(shape), residual, x, out};
  launch_elements<4>(context, "add_residual", shape, body, residual, x, out);
}

template <class T>
void residual_gradient(const Context& context, const MaskedMatrix& shape, const float* g, T* dx) {
  launch_elements<4>(context, "residual_gradient", shape, ResidualGradient<T>{Masks(shape), g, dx}, g, dx);
}

template void add_residual(const Context&, const MaskedMatrix&, const float*, const float*, float*);
template void add_residual(const Context&, const MaskedMatrix&, const float*, const Bfloat16*, float*);
template void residual_gradient(const Context&, const MaskedMatrix&, const float*, float*);
template void residual_gradient(const Context&, const MaskedMatrix&, const float*, Bfloat16*);

}  // namespace rkif::cuda
