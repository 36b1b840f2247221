// e^x that vectorises: libm's expf does not. For kernels that include fused.h after it.
#pragma once
#include <cstdint>

#include "kernels/clones.h"

namespace rkif {

// e^x for x up to 88, within 1.5 ulp; 0 from about -87.7 down, where the exact value is below the normal numbers. x = n
// ln 2 + r, |r| <= ln 2 / 2; e^r = 1 + r + r^2 p(r) with p fitted for the least relative error (3e-9) on that interval.
RKIF_INLINE float exponential(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the rounded integer in the low bits
  x = x < -88.0f ? -88.0f : x;           // n is -127 there, and the power's bits are those of zero; NaN stays NaN
  float shifted = x * 1.44269502f + kRound;
  float n = shifted - kRound;
  float r = x - n * 0.693359375f;  // ln 2 in two parts, the first exact in 10 bits
  r = r + n * 2.12194442e-4f;
  float p = 1.38144672e-3f;
  p = p * r + 8.36878084e-3f;
  p = p * r + 4.16683927e-2f;
  p = p * r + 1.66665196e-1f;
  p = p * r + 4.99999940e-1f;
  float power = __builtin_bit_cast(float, (__builtin_bit_cast(uint32_t, shifted) << 23) + 0x3f800000u);
  return ((p * r) * r + r + 1.0f) * power;
}

}  // namespace rkif
