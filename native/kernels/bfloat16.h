// bfloat16 as 16 bits, converted one by one in loops that vectorise.
#pragma once
#include <cstdint>

#include "kernels/clones.h"

namespace rkif {

struct Bfloat16 {
  uint16_t bits;
};

RKIF_INLINE float widened(float x) { return x; }
RKIF_INLINE float widened(Bfloat16 x) { return __builtin_bit_cast(float, uint32_t{x.bits} << 16); }

// To the nearest, ties to even; NaN to a quiet NaN, as libtorch rounds.
RKIF_INLINE void store(float x, float& to) { to = x; }
RKIF_INLINE void store(float x, Bfloat16& to) {
  uint32_t bits = __builtin_bit_cast(uint32_t, x);
  uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  to.bits = static_cast<uint16_t>(x != x ? 0x7fc0u : rounded);
}

}  // namespace rkif
