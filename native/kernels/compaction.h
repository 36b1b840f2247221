// Copying the few elements of a block that a vectorised comparison has flagged.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>

namespace rkif {

static_assert(std::endian::native == std::endian::little,
              "copy_flagged reads eight flags as one word, the first in its lowest byte");

// Elements of a block: its values and flags stay in the first-level cache.
inline constexpr int64_t kFlagBlock = 2048;

struct Flags {
  alignas(64) uint8_t byte[kFlagBlock];
  // Ends the last word where a block of n elements does not.
  void pad(int64_t n) { std::memset(byte + n, 0, -n & 7); }
};

// Appends the values whose flag is 1 to `out`; returns the new end.
inline float* copy_flagged(int64_t n, const float* values, const Flags& flags, float* out) {
  for (int64_t i = 0; i < n; i += 8) {
    uint64_t word;
    std::memcpy(&word, flags.byte + i, sizeof(word));
    for (; word; word &= word - 1) *out++ = values[i + (std::countr_zero(word) >> 3)];
  }
  return out;
}

}  // namespace rkif
