// Vectors that begin anywhere in memory, as slices of a flat vector do.
#pragma once
#include <vector>

#include "cuda_test.h"

namespace rkif::test {

// A copy of a vector that begins `offset` elements after an address that is aligned to 64 bytes.
template <class T>
class Slice {
 public:
  Slice(const std::vector<T>& values, int64_t offset) : n_(values.size()), memory_(values.size() + offset + 64) {
    const auto past = static_cast<int64_t>(reinterpret_cast<uintptr_t>(memory_.data()) % 64);
    begin_ = (64 - past) % 64 / static_cast<int64_t>(sizeof(T)) + offset;
    std::copy(values.begin(), values.end(), data());
  }
  Slice(const Slice&) = delete;
  Slice& operator=(const Slice&) = delete;
  T* data() { return memory_.data() + begin_; }
  std::vector<T> values() { return {data(), data() + n_}; }

 private:
  size_t n_;
  std::vector<T> memory_;
  int64_t begin_;
};

// Ends of vectors of four, of warps, and of what a block takes in one turn.
inline const std::vector<int64_t>& cuda_lengths() {
  static const std::vector<int64_t> all{0, 1, 3, 31, 33, 257, 4099, 20001};
  return all;
}

}  // namespace rkif::test
