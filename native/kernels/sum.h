// The sum of a few arrays of one type in one pass: the gradient of what several layers read.
#pragma once
#include <cstdint>

#include "kernels/bfloat16.h"

namespace rkif {

inline constexpr int kMostParts = 3;

// T = float, Bfloat16, or void where the type is known at run time only.
template <class T>
struct Parts {
  int count = 0;  // 1 to kMostParts
  const T* at[kMostParts] = {};
};

template <class T>
Parts<T> parts_of(const Parts<void>& parts) {
  Parts<T> typed{parts.count};
  for (int k = 0; k < parts.count; ++k) typed.at[k] = static_cast<const T*>(parts.at[k]);
  return typed;
}

// (parts[0][i] + parts[1][i]) + parts[2][i], of so many as there are.
template <int kCount, class T>
RKIF_INLINE float part_sum(const T* const (&parts)[kCount], int64_t i) {
  static_assert(kCount <= kMostParts);
  float sum = widened(parts[0][i]);
  if constexpr (kCount > 1) sum += widened(parts[1][i]);
  if constexpr (kCount > 2) sum += widened(parts[2][i]);
  return sum;
}

// out[i] = (at[0][i] + at[1][i]) + at[2][i], n elements, in fp32. `out` may be a part.
template <class T>
void sum_parts(int64_t n, const Parts<T>& parts, float* out);

}  // namespace rkif
