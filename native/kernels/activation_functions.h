// The activation functions and their slopes, one element at a time, for loops that vectorise and for the GPU's threads.
// For kernels that include fused.h after it.
#pragma once
#include "kernels/clones.h"
#include "kernels/exponential.h"

namespace rkif {

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

}  // namespace rkif
