// Conversions between fp32 and the two 16-bit floating types on their bit patterns, written without branches that
// depend on the value where it counts, so that compilers vectorise the loops around them.
#pragma once
#include <bit>
#include <cstdint>

namespace rkif {

// Exact. Subnormal values go through an integer, so that a thread that flushes subnormal numbers to zero reads the same
// values.
inline float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = half & 0x7c00u, magnitude = half & 0x7fffu;
  const uint32_t subnormal = std::bit_cast<uint32_t>(static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f);
  const uint32_t rebias = exponent == 0x7c00u ? (255u - 31u) << 23 : (127u - 15u) << 23;
  const uint32_t normal = (magnitude << 13) + rebias;
  return std::bit_cast<float>(sign | (exponent == 0 ? subnormal : normal));
}

inline float bfloat16_to_float(uint16_t value) { return std::bit_cast<float>(static_cast<uint32_t>(value) << 16); }

// Rounds to nearest, ties to even; what rounds beyond 65504 becomes infinite; NaN stays NaN and keeps its sign.
inline uint16_t float_to_half(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  uint32_t half;
  if (magnitude > 0x7f800000u) {
    half = 0x7e00u;
  } else if (magnitude >= 0x477ff000u) {  // 65520, half way between 65504 and what would be the next value
    half = 0x7c00u;
  } else if (magnitude < 0x38800000u) {  // below 2^-14: the sum's last bit is worth 2^-24, so the addition rounds
    half = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - std::bit_cast<uint32_t>(0.5f);
  } else {
    const uint32_t rebiased = magnitude - ((127u - 15u) << 23);
    half = (rebiased + 0x0fffu + ((rebiased >> 13) & 1u)) >> 13;
  }
  return static_cast<uint16_t>(sign | half);
}

// Rounds to nearest, ties to even; NaN stays NaN and keeps its sign.
inline uint16_t float_to_bfloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x0040u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace rkif
