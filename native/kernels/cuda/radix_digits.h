// The digits by which radix passes (radix_select.h) find an element, and a block's part in that.
#pragma once
#include <algorithm>

#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/reduce.h"

namespace rkif::cuda {

inline constexpr int kPasses = 3;
inline constexpr int kMostBins = 1 << 11;
constexpr int bits_of_pass(int pass) { return pass + 1 == kPasses ? 10 : 11; }
constexpr int shift_of_pass(int pass) { return pass == 0 ? 21 : pass == 1 ? 10 : 0; }

// Unsigned numbers in the order of the floats; zeros of both signs are equal, and NaN is above all.
__device__ inline unsigned key_of(float value) {
  const unsigned bits = __float_as_uint(value + 0.0f);  // -0 + 0 = +0
  const unsigned key = bits ^ (bits >> 31 ? 0xffffffffu : 0x80000000u);
  return value != value ? 0xffffffffu : key;
}
__device__ inline float value_of(unsigned key) {
  return __uint_as_float(key ^ (key >> 31 ? 0x80000000u : 0xffffffffu));
}

// Counts the digit of pass kPass of those elements that have the known prefix. The threads that start at 0 to
// stride - 1 see them all. Returns, in the last pass, the complement of the smallest key with a larger prefix that this
// thread has met.
template <int kPass, int kUnroll>
__device__ unsigned count_digits(const float* values, const Range& range, int64_t first, int64_t stride,
                                 unsigned prefix, unsigned* histogram) {
  constexpr int kBits = bits_of_pass(kPass), kShift = shift_of_pass(kPass);
  // Equal neighbours (ties; the first digits of copies) are counted together: threads do not wait for each other.
  unsigned bin = 0, length = 0, next_complement = 0;
  for_each<4, kUnroll>(
      range, first, stride, [&](auto width, int64_t i) { return load_floats<decltype(width)::value>(values + i); },
      [&](auto, int64_t, const auto& x) {
        RKIF_UNROLL
        for (float value : x.at) {
          const unsigned key = key_of(value);
          if constexpr (kPass > 0) {
            const unsigned leading = key >> (kShift + kBits);
            if (kPass + 1 == kPasses && leading > prefix) next_complement = std::max(next_complement, ~key);
            if (leading != prefix) continue;
          }
          const unsigned digit = key >> kShift & ((1u << kBits) - 1);
          if (digit != bin) {
            atomicAdd(&histogram[bin], length);
            bin = digit;
            length = 0;
          }
          ++length;
        }
      });
  if (length > 0) atomicAdd(&histogram[bin], length);
  return next_complement;
}

// The bin of a histogram that holds a rank.
struct Bin {
  unsigned index;
  int64_t position;  // of the rank in the bin
  int64_t count;
};

// Every thread gets the bin; `mine`: this thread's bins of the histogram, which are returned to zero.
template <class T, int kOwn>
__device__ Bin locate(T* histogram, int64_t rank, Count (&mine)[kOwn]) {
  __shared__ Count partial[kThreads / kWarp];
  __shared__ Bin found;
  const unsigned first = threadIdx.x * kOwn;
  Count sum = 0;
  RKIF_UNROLL
  for (int j = 0; j < kOwn; ++j) {
    mine[j] = read_shared_by_blocks(&histogram[first + j]);
    histogram[first + j] = 0;
    sum += mine[j];
  }
  auto before = static_cast<int64_t>(block_exclusive_sum(sum, partial));
  if (rank >= before && rank < before + static_cast<int64_t>(sum)) {
    bool here = false;
    RKIF_UNROLL
    for (int j = 0; j < kOwn; ++j) {
      const auto count = static_cast<int64_t>(mine[j]);
      if (!here && rank < before + count) {
        found = {first + j, rank - before, count};
        here = true;
      }
      before += count;
    }
  }
  __syncthreads();
  return found;
}

// The lowest bin above `bin` that holds something, or the number of all bins; `mine`: what locate() has given. Every
// thread gets it.
template <int kOwn>
__device__ unsigned next_bin(unsigned bin, const Count (&mine)[kOwn]) {
  __shared__ unsigned next;
  if (threadIdx.x == 0) next = kThreads * kOwn;
  __syncthreads();
  RKIF_UNROLL
  for (int j = kOwn - 1; j >= 0; --j) {
    const unsigned other = threadIdx.x * kOwn + j;
    if (mine[j] > 0 && other > bin) atomicMin(&next, other);
  }
  __syncthreads();
  return next;
}

}  // namespace rkif::cuda
