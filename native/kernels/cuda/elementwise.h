// Loops over arrays with loads of 16 bytes. Arrays may begin anywhere (slices of a flat vector): the elements before
// the first aligned one and after the last are handled one by one, as are all where the arrays do not agree on
// alignment.
#pragma once
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/cuda/grid.h"
#include "kernels/cuda/unroll.h"
#include "kernels/host_device.h"

namespace rkif::cuda {

// Threads of a block in elementwise passes.
inline constexpr int kThreads = 256;

// n elements, of which `wide` groups begin at `head`.
struct Range {
  int64_t n;
  int64_t head;
  int64_t wide;
};

template <int kWide, class T>
RKIF_HOST_DEVICE bool wide_at(const T* array, int64_t head) {
  return array == nullptr || (reinterpret_cast<uintptr_t>(array) + head * sizeof(T)) % (kWide * sizeof(T)) == 0;
}

// Groups of kWide elements that are aligned to their size in all arrays; null arrays have no say.
template <int kWide, class First, class... Rest>
RKIF_HOST_DEVICE Range wide_range(int64_t n, const First* first, const Rest*... rest) {
  const auto past = static_cast<int64_t>(reinterpret_cast<uintptr_t>(first) / sizeof(First) % kWide);
  const int64_t head = std::min<int64_t>(n, (kWide - past) % kWide);
  if (!wide_at<kWide>(first, head) || !(wide_at<kWide>(rest, head) && ...)) return {n, 0, 0};
  return {n, head, (n - head) / kWide};
}

template <int kWide>
using Width = std::integral_constant<int, kWide>;

// Calls finish(width, i, load(width, i)) for `width` elements from i on, width being Width<kWide> or Width<1>, so that
// the threads that start at 0 to stride - 1 see every element once. kUnroll loads are under way before the first of
// them is used: outputs may be one of the inputs, element by element, and nothing else of them.
template <int kWide, int kUnroll, class Load, class Finish>
__device__ inline void for_each(const Range& range, int64_t first, int64_t stride, const Load& load,
                                const Finish& finish) {
  constexpr Width<kWide> wide;
  constexpr Width<1> one;
  int64_t i = first;
  for (; i + (kUnroll - 1) * stride < range.wide; i += kUnroll * stride) {
    decltype(load(wide, i)) loaded[kUnroll];
    RKIF_UNROLL
    for (int u = 0; u < kUnroll; ++u) loaded[u] = load(wide, range.head + (i + u * stride) * kWide);
    RKIF_UNROLL
    for (int u = 0; u < kUnroll; ++u) finish(wide, range.head + (i + u * stride) * kWide, loaded[u]);
  }
  if constexpr (kUnroll > 1) {
    for (; i < range.wide; i += stride) finish(wide, range.head + i * kWide, load(wide, range.head + i * kWide));
  }
  const int64_t middle = range.wide * kWide, rest = range.n - middle;
  for (i = first; i < rest; i += stride) {
    const int64_t at = i < range.head ? i : i + middle;
    finish(one, at, load(one, at));
  }
}

template <int kWide>
struct Floats {
  float at[kWide];
};

template <int kWide>
__device__ inline Floats<kWide> load_floats(const float* from) {
  if constexpr (kWide == 4) {
    const float4 x = *reinterpret_cast<const float4*>(from);
    return {{x.x, x.y, x.z, x.w}};
  } else {
    static_assert(kWide == 1);
    return {{*from}};
  }
}

template <int kWide>
__device__ inline void store_floats(float* to, const Floats<kWide>& x) {
  if constexpr (kWide == 4) {
    *reinterpret_cast<float4*>(to) = make_float4(x.at[0], x.at[1], x.at[2], x.at[3]);
  } else {
    static_assert(kWide == 1);
    *to = x.at[0];
  }
}

// Bytes of a mask, the first in the lowest bits.
template <int kWide>
__device__ inline unsigned load_bytes(const uint8_t* from) {
  if constexpr (kWide == 4) {
    return *reinterpret_cast<const unsigned*>(from);
  } else {
    static_assert(kWide == 1);
    return *from;
  }
}

template <int kWide>
__device__ inline void store_bytes(uint8_t* to, unsigned bytes) {
  if constexpr (kWide == 4) {
    *reinterpret_cast<unsigned*>(to) = bytes;
  } else {
    static_assert(kWide == 1);
    *to = static_cast<uint8_t>(bytes);
  }
}

__device__ inline bool byte_set(unsigned bytes, int index) { return (bytes >> (8 * index) & 0xffu) != 0; }

}  // namespace rkif::cuda
