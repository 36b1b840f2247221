#include "kernels/activation.h"
#include "kernels/exponential.h"
#include "kernels/masked_rows.h"
// The last one.
#include "kernels/fused.h"

namespace rkif {
namespace {

// A function's value and slope.
struct ValueAndSlope {
  float value;
  float slope;
};

RKIF_INLINE float logistic(float x) { return 1.0f / (1.0f + exponential(x < -88.0f ? 88.0f : -x)); }

struct Relu {
  // NaN stays NaN.
  static RKIF_INLINE float value(float x) { return x < 0.0f ? 0.0f : x; }
  static RKIF_INLINE ValueAndSlope both(float x) { return {value(x), x > 0.0f ? 1.0f : 0.0f}; }
};

struct Silu {
  static RKIF_INLINE float value(float x) { return x * logistic(x); }
  static RKIF_INLINE ValueAndSlope both(float x) {
    float s = logistic(x);
    return {x * s, s * (1.0f + x * (1.0f - s))};
  }
};

// x / 2 (1 + tanh(u)) = x * logistic(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3) (Hendrycks and Gimpel, arXiv
// 1606.08415).
struct GeluNew {
  static constexpr float kTwice = 1.59576912f;  // 2 sqrt(2 / pi)
  static RKIF_INLINE float value(float x) { return x * logistic(kTwice * (x + 0.044715f * x * x * x)); }
  static RKIF_INLINE ValueAndSlope both(float x) {
    float s = logistic(kTwice * (x + 0.044715f * x * x * x));
    return {x * s, s + x * (s * (1.0f - s) * (kTwice * (1.0f + 0.134145f * x * x)))};
  }
};

// x * Phi(x) with the normal distribution's Phi(x) = erfc(-x / sqrt 2) / 2. erfc(z) = t exp(-z^2 + g(t)) for z >= 0
// with t = 1 / (1 + z / 2), the form of Numerical Recipes; g fitted for the least error (5e-8) as a polynomial of t -
// 0.6.
struct Gelu {
  static RKIF_INLINE float upper_tail(float x) {  // 1 - Phi(|x|)
    float z = (x < 0.0f ? -x : x) * 0.707106781f;
    float t = 1.0f / (1.0f + 0.5f * z), s = t - 0.6f;
    float g = 0.141441137f;
    g = g * s + 0.102042414f;
    g = g * s - 0.231679007f;
    g = g * s - 0.0711809546f;
    g = g * s + 0.289336711f;
    g = g * s - 0.0108902529f;
    g = g * s - 0.408928156f;
    g = g * s + 0.0702890903f;
    g = g * s + 1.37142038f;
    g = g * s - 0.535759807f;
    return 0.5f * t * exponential(g - z * z);
  }
  static RKIF_INLINE float distribution(float x) {
    float tail = upper_tail(x);
    return x < 0.0f ? tail : 1.0f - tail;
  }
  static RKIF_INLINE float value(float x) { return x * distribution(x); }
  static RKIF_INLINE ValueAndSlope both(float x) {
    float phi = distribution(x);
    return {x * phi, phi + x * (0.398942280f * exponential(-0.5f * x * x))};
  }
};

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
