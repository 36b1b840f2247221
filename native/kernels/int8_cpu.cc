#include <bit>
#include <cmath>

#include "kernels/bfloat16.h"
#include "kernels/clones.h"
#include "kernels/int8.h"

namespace rkif {

RKIF_CLONES bool quantise_row(int64_t columns, const float* from, int8_t* to, float* scale) {
  float largest = 0, sum = 0;
#pragma omp simd reduction(max : largest) reduction(+ : sum)
  for (int64_t j = 0; j < columns; ++j) {
    float size = std::fabs(from[j]);
    largest = size > largest ? size : largest;
    sum += size * 0.0f;  // NaN where a value is NaN or infinite, which a maximum would pass over
  }
  if (!(sum == 0)) return false;
  *scale = largest / 127.0f;
  // A row of zeros stays so whatever it is multiplied with.
  const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
  // Adding 1.5 * 2^23 leaves the rounded integer in the low bits of the sum.
  constexpr float kRound = 12582912.0f;
  for (int64_t j = 0; j < columns; ++j) {
    to[j] = static_cast<int8_t>(std::bit_cast<uint32_t>(from[j] * inverse + kRound) & 0xffu);
  }
  return true;
}

RKIF_CLONES void widen_int8(int64_t count, const int8_t* from, uint16_t* to) {
  for (int64_t j = 0; j < count; ++j) {
    // Seven bits fit into bfloat16's eight: cutting off the rest of the fp32 loses nothing.
    to[j] = static_cast<uint16_t>(std::bit_cast<uint32_t>(static_cast<float>(from[j])) >> 16);
  }
}

RKIF_CLONES void widen_bfloat16(int64_t count, const uint16_t* from, float* to) {
  for (int64_t j = 0; j < count; ++j) to[j] = widened(Bfloat16{from[j]});
}

}  // namespace rkif
