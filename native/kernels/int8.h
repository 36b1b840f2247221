// Rows of 8-bit values with one scale each, on plain pointers and the calling thread.
#pragma once
#include <cstdint>

namespace rkif {

// to[j] = round(127 * from[j] / max |from|), ties to even, from -127 to 127; value = scale * to[j] with *scale =
// max |from| / 127. Zeros where all are zero. False where a value is not finite: then nothing of use was written.
bool quantise_row(int64_t columns, const float* from, int8_t* to, float* scale);

// Bit patterns of bfloat16, exact for all 256 values.
void widen_int8(int64_t count, const int8_t* from, uint16_t* to);

// fp32 values of bfloat16's bit patterns.
void widen_bfloat16(int64_t count, const uint16_t* from, float* to);

}  // namespace rkif
