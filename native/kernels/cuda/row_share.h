// Rows dealt out to threads that work on one together, in registers and with accesses of up to 16 bytes.
#pragma once
#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/cuda/grid.h"
#include "kernels/cuda/unroll.h"

namespace rkif::cuda {

// Neighbouring values that one access reads or writes.
template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Wide {
  T at[kCount];
};

template <int kCount, class T>
__device__ inline Wide<T, kCount> load_wide(const T* from) {
  return *reinterpret_cast<const Wide<T, kCount>*>(from);
}

template <int kCount, class T>
__device__ inline void store_wide(const Wide<T, kCount>& values, T* to) {
  *reinterpret_cast<Wide<T, kCount>*>(to) = values;
}

// Whether all of these allow accesses to `count` values at once, at every multiple of `count`. A null pointer does.
template <class... T>
bool allow_wide(int count, const T*... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % (sizeof(T) * count) == 0) && ...);
}

// What one of kThreads threads has of a row: kPacks times kWidth neighbours. Where kWidth is not 1, rows begin where
// such an access may and are as long as a multiple of it.
template <int kThreads, int kWidth, int kPacks>
struct RowShare {
  static constexpr int kElements = kWidth * kPacks;
  static constexpr int kSpan = kThreads * kElements;
  float at[kElements];

  static __device__ int column(int thread, int element) {
    return (element / kWidth * kThreads + thread) * kWidth + element % kWidth;
  }
  // Zero from `columns` on. T = float or Bfloat16.
  template <class T>
  __device__ void load(const T* row, int64_t columns, int thread) {
    RKIF_UNROLL
    for (int pack = 0; pack < kPacks; ++pack) {
      const int first = column(thread, pack * kWidth);
      Wide<T, kWidth> values{};
      if (first < columns) values = load_wide<kWidth>(row + first);
      RKIF_UNROLL
      for (int i = 0; i < kWidth; ++i) at[pack * kWidth + i] = widened(values.at[i]);
    }
  }
  // Rounded to T.
  template <class T>
  __device__ void store(T* row, int64_t columns, int thread) const {
    RKIF_UNROLL
    for (int pack = 0; pack < kPacks; ++pack) {
      const int first = column(thread, pack * kWidth);
      Wide<T, kWidth> values;
      RKIF_UNROLL
      for (int i = 0; i < kWidth; ++i) rkif::store(at[pack * kWidth + i], values.at[i]);
      if (first < columns) store_wide<kWidth>(values, row + first);
    }
  }
};

}  // namespace rkif::cuda
