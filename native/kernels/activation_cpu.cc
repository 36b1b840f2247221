#include "kernels/activation.h"
#include "kernels/activation_functions.h"
#include "kernels/masked_rows.h"
// The last one.
#include "kernels/fused.h"

namespace rkif {
namespace {

template <class Function, bool kDrops, class T>
RKIF_INLINE void forward_row(int64_t n, const T* x, const T* gate, const RowMask& given, T* out) {
  const RowMask mask = given;
  if (gate != nullptr) {
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) {
      float y = Function::value(widened(x[j])) * widened(gate[j]);
      store(kDrops ? mask.applied(y, j) : y, out[j]);
    }
  } else {
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) {
      float y = Function::value(widened(x[j]));
      store(kDrops ? mask.applied(y, j) : y, out[j]);
    }
  }
}

template <class Function, bool kDrops, class T>
RKIF_INLINE void backward_row(int64_t n, const T* x, const T* gate, const T* dout, const RowMask& given, T* dx,
                              T* dgate) {
  const RowMask mask = given;
  if (gate == nullptr) {
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) {
      float g = widened(dout[j]);
      if (kDrops) g = mask.applied(g, j);
      store(g * Function::both(widened(x[j])).slope, dx[j]);
    }
    return;
  }
#pragma omp simd
  for (int64_t j = 0; j < n; ++j) {
    float g = widened(dout[j]);
    if (kDrops) g = mask.applied(g, j);
    ValueAndSlope f = Function::both(widened(x[j]));
    store(g * widened(gate[j]) * f.slope, dx[j]);
    store(g * f.value, dgate[j]);
  }
}

template <bool kDrops, class T>
RKIF_INLINE void forward_any(Activation activation, int64_t n, const T* x, const T* gate, const RowMask& mask, T* out) {
  switch (activation) {
    case Activation::kRelu:
      return forward_row<Relu, kDrops>(n, x, gate, mask, out);
    case Activation::kGelu:
      return forward_row<Gelu, kDrops>(n, x, gate, mask, out);
    case Activation::kGeluNew:
      return forward_row<GeluNew, kDrops>(n, x, gate, mask, out);
    case Activation::kSilu:
      return forward_row<Silu, kDrops>(n, x, gate, mask, out);
  }
}

template <bool kDrops, class T>
RKIF_INLINE void backward_any(Activation activation, int64_t n, const T* x, const T* gate, const T* dout,
                              const RowMask& mask, T* dx, T* dgate) {
  switch (activation) {
    case Activation::kRelu:
      return backward_row<Relu, kDrops>(n, x, gate, dout, mask, dx, dgate);
    case Activation::kGelu:
      return backward_row<Gelu, kDrops>(n, x, gate, dout, mask, dx, dgate);
    case Activation::kGeluNew:
      return backward_row<GeluNew, kDrops>(n, x, gate, dout, mask, dx, dgate);
    case Activation::kSilu:
      return backward_row<Silu, kDrops>(n, x, gate, dout, mask, dx, dgate);
  }
}

// Templates cannot be cloned; these are the loops that are.
#define RKIF_ACTIVATION_ROWS(name, T, drops)                                                                         \
  RKIF_FUSED_CLONES void forward_##name(Activation activation, int64_t n, const T* x, const T* gate,                 \
                                        const RowMask& mask, T* out) {                                               \
    forward_any<drops>(activation, n, x, gate, mask, out);                                                           \
  }                                                                                                                  \
  RKIF_FUSED_CLONES void backward_##name(Activation activation, int64_t n, const T* x, const T* gate, const T* dout, \
                                         const RowMask& mask, T* dx, T* dgate) {                                     \
    backward_any<drops>(activation, n, x, gate, dout, mask, dx, dgate);                                              \
  }
RKIF_ACTIVATION_ROWS(float, float, false)
RKIF_ACTIVATION_ROWS(float_dropped, float, true)
RKIF_ACTIVATION_ROWS(bfloat16, Bfloat16, false)
RKIF_ACTIVATION_ROWS(bfloat16_dropped, Bfloat16, true)
#undef RKIF_ACTIVATION_ROWS

template <class T>
struct Rows;
template <>
struct Rows<float> {
  static constexpr auto forward = forward_float, forward_dropped = forward_float_dropped;
  static constexpr auto backward = backward_float, backward_dropped = backward_float_dropped;
};
template <>
struct Rows<Bfloat16> {
  static constexpr auto forward = forward_bfloat16, forward_dropped = forward_bfloat16_dropped;
  static constexpr auto backward = backward_bfloat16, backward_dropped = backward_bfloat16_dropped;
};

// An exponential costs as much as this many elements that are only moved.
constexpr int64_t kWeight = 2;

}  // namespace

template <class T>
void activation_forward(Activation activation, const MaskedMatrix& shape, const T* x, const T* gate, T* out) {
  for_masked_rows(shape, kWeight, [&](int64_t at, const RowMask& mask, bool drops) {
    auto* row = drops ? Rows<T>::forward_dropped : Rows<T>::forward;
    row(activation, shape.columns, x + at, gate == nullptr ? nullptr : gate + at, mask, out + at);
  });
}

template <class T>
void activation_backward(Activation activation, const MaskedMatrix& shape, const T* x, const T* gate, const T* dout,
                         T* dx, T* dgate) {
  for_masked_rows(shape, kWeight, [&](int64_t at, const RowMask& mask, bool drops) {
    auto* row = drops ? Rows<T>::backward_dropped : Rows<T>::backward;
    row(activation, shape.columns, x + at, gate == nullptr ? nullptr : gate + at, dout + at, mask, dx + at,
        gate == nullptr ? nullptr : dgate + at);
  });
}

template void activation_forward(Activation, const MaskedMatrix&, const float*, const float*, float*);
template void activation_forward(Activation, const MaskedMatrix&, const Bfloat16*, const Bfloat16*, Bfloat16*);
template void activation_backward(Activation, const MaskedMatrix&, const float*, const float*, const float*, float*,
                                  float*);
template void activation_backward(Activation, const MaskedMatrix&, const Bfloat16*, const Bfloat16*, const Bfloat16*,
                                  Bfloat16*, Bfloat16*);

}  // namespace rkif
