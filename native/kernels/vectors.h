// Vectors of fp32 for kernels that are written out for several instruction sets. Always passed by reference: passed by
// value they would need one instruction set in all of a file.
#pragma once
#include "kernels/clones.h"

namespace rkif {

using Vec4 = float __attribute__((vector_size(16)));
using Vec8 = float __attribute__((vector_size(32)));
using Vec16 = float __attribute__((vector_size(64)));

// Leading dimensions are the caller's: nothing is aligned.
template <class Vec, class Word>
RKIF_INLINE void load(const Word* from, Vec& vector) {
  __builtin_memcpy(&vector, from, sizeof(Vec));
}

// The sum of a vector's lanes, halved until one is left.
RKIF_INLINE float lanes_sum(const Vec4& x) { return (x[0] + x[2]) + (x[1] + x[3]); }
RKIF_INLINE float lanes_sum(const Vec8& x) {
  return lanes_sum(__builtin_shufflevector(x, x, 0, 1, 2, 3) + __builtin_shufflevector(x, x, 4, 5, 6, 7));
}
RKIF_INLINE float lanes_sum(const Vec16& x) {
  return lanes_sum(__builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7) +
                   __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15));
}

}  // namespace rkif
