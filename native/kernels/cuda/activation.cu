#include "kernels/activation_functions.h"
#include "kernels/cuda/activation.h"
#include "kernels/cuda/masked_elements.h"

namespace rkif::cuda {
namespace {

template <class Function, class T>
struct Forward {
  Masks masks;
  const T* x;
  const T* gate;
  T* out;

  template <int kWidth>
  __device__ void at(int64_t first) const {
    const Wide<T, kWidth> in = load_wide<kWidth>(x + first);
    Wide<T, kWidth> gates{};
    if (gate != nullptr) gates = load_wide<kWidth>(gate + first);
    float values[kWidth];
    RKIF_UNROLL
    for (int i = 0; i < kWidth; ++i) {
      values[i] = Function::value(widened(in.at[i]));
      if (gate != nullptr) values[i] *= widened(gates.at[i]);
    }
    masks.apply(first, values);
    Wide<T, kWidth> stored;
    RKIF_UNROLL
    for (int i = 0; i < kWidth; ++i) store(values[i], stored.at[i]);
    store_wide(stored, out + first);
  }
};

// Everything is read before anything is written: results may take the place of what they are made of.
template <class Function, class T>
struct Backward {
  Masks masks;
  const T* x;
  const T* gate;
  const T* dout;
  T* dx;
  T* dgate;

  template <int kWidth>
  __device__ void at(int64_t first) const {
    const Wide<T, kWidth> in = load_wide<kWidth>(x + first), gradients = load_wide<kWidth>(dout + first);
    Wide<T, kWidth> gates{};
    if (gate != nullptr) gates = load_wide<kWidth>(gate + first);
    float g[kWidth];
    RKIF_UNROLL
    for (int i = 0; i < kWidth; ++i) g[i] = widened(gradients.at[i]);
    masks.apply(first, g);
    Wide<T, kWidth> of_x, of_gate;
    RKIF_UNROLL
    for (int i = 0; i < kWidth; ++i) {
      const ValueAndSlope f = Function::both(widened(in.at[i]));
      store((gate == nullptr ? g[i] : g[i] * widened(gates.at[i])) * f.slope, of_x.at[i]);
      store(g[i] * f.value, of_gate.at[i]);
    }
    store_wide(of_x, dx + first);
    if (gate != nullptr) store_wide(of_gate, dgate + first);
  }
};

template <class Run>
void with_function(Activation activation, const Run& run) {
  switch (activation) {
    case Activation::kRelu:
      return run(Relu{});
    case Activation::kGelu:
      return run(Gelu{});
    case Activation::kGeluNew:
      return run(GeluNew{});
    case Activation::kSilu:
      return run(Silu{});
  }
}

// Elements of 16 bytes.
template <class T>
constexpr int kWidest = 16 / sizeof(T);

}  // namespace

template <class T>
void activation_forward(const Context& context, Activation activation, const MaskedMatrix& shape, const T* x,
                        const T* gate, T* out) {
  const Masks masks(shape);
  with_function(activation, [&](auto function) {
    const Forward<decltype(function), T> body{masks, x, gate, out};
    launch_elements<kWidest<T>>(context, "activation_forward", shape, body, x, gate, out);
  });
}

template <class T>
void activation_backward(const Context& context, Activation activation, const MaskedMatrix& shape, const T* x,
                         const T* gate, const T* dout, T* dx, T* dgate) {
  const Masks masks(shape);
  with_function(activation, [&](auto function) {
    const Backward<decltype(function), T> body{masks, x, gate, dout, dx, dgate};
    launch_elements<kWidest<T>>(context, "activation_backward", shape, body, x, gate, dout, dx, dgate);
  });
}

template void activation_forward(const Context&, Activation, const MaskedMatrix&, const float*, const float*, float*);
template void activation_forward(const Context&, Activation, const MaskedMatrix&, const Bfloat16*, const Bfloat16*,
                                 Bfloat16*);
template void activation_backward(const Context&, Activation, const MaskedMatrix&, const float*, const float*,
                                  const float*, float*, float*);
template void activation_backward(const Context&, Activation, const MaskedMatrix&, const Bfloat16*, const Bfloat16*,
                                  const Bfloat16*, Bfloat16*, Bfloat16*);

}  // namespace rkif::cuda
