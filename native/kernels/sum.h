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

// out[i] = (at[0][i] + at[1][i]) + at[2][i], n elements, in fp32. `out` may be a part.
template <class T>
void sum_parts(int64_t n, const Parts<T>& parts, float* out);

}  // namespace rkif
