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

}  // namespace rkif
