// Tensor cores and asynchronous copies of the emulated grid, after the layouts of fragments in the PTX ISA ("Warp Level
// Matrix Multiply-Accumulate Instructions": mma.m16n8k16 with .bf16, ldmatrix with .b16).
#pragma once
#include <array>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "cuda_emulation.h"
#include "kernels/bfloat16.h"

namespace emulation {

struct Fragments {
  uint32_t a[4], b[2];
};

inline size_t thread_number() {
  return threadIdx.x + size_t{blockDim.x} * (threadIdx.y + size_t{blockDim.y} * threadIdx.z);
}

// Element `low or high` of two packed numbers.
inline float element(uint32_t pair, int which) {
  return rkif::widened(rkif::Bfloat16{static_cast<uint16_t>(which == 0 ? pair : pair >> 16)});
}

inline void multiply_add(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  // Two each, by turns: a lane may bring its next fragments before the others have read these, but not those after.
  static std::array<std::array<Fragments, 2>, 1024> brought;
  static std::array<int, 1024> turn;
  const size_t number = thread_number();
  Fragments& mine = brought[number][turn[number] ^= 1];
  mine = {{a[0], a[1], a[2], a[3]}, {b0, b1}};
  exchange(0xffffffffu, reinterpret_cast<uint64_t>(&mine));
  const auto of = [](int lane) { return reinterpret_cast<const Fragments*>(value_of(lane)); };
  const int group = lane() / 4, in_group = lane() % 4;
  for (int i = 0; i < 4; ++i) {
    const int row = i / 2, column = 2 * in_group + i % 2;  // the row is group + 8 row
    for (int k = 0; k < 16; ++k) {
      // Columns 2 t + {0, 1} + 8 h of a row of `a` lie with lane t of the row's group, rows likewise of a column of
      // `b`.
      const int holder = k % 8 / 2, half = k / 8;
      sums[i] +=
          element(of(4 * group + holder)->a[row + 2 * half], k % 2) * element(of(4 * column + holder)->b[half], k % 2);
    }
  }
}

inline void load_matrices(const rkif::Bfloat16* row, uint32_t (&to)[4], bool transposed) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0)
    throw std::runtime_error("ldmatrix: a row is not aligned to 16 bytes");
  exchange(0xffffffffu, reinterpret_cast<uint64_t>(row));
  const int group = lane() / 4, in_group = lane() % 4;
  for (int matrix = 0; matrix < 4; ++matrix) {
    const auto at = [&](int r, int c) -> uint32_t {
      return reinterpret_cast<const rkif::Bfloat16*>(value_of(8 * matrix + r))[c].bits;
    };
    to[matrix] = transposed ? at(2 * in_group, group) | at(2 * in_group + 1, group) << 16
                            : at(group, 2 * in_group) | at(group, 2 * in_group + 1) << 16;
  }
}

struct Copy {
  void* to;
  const void* from;
  bool something;
};

// What every thread has begun to copy: nothing arrives before it is waited for.
inline std::vector<Copy>& copies_begun() {
  static std::array<std::vector<Copy>, 1024> all;
  return all[thread_number()];
}

inline void begin_copy(void* to, const void* from, bool something) {
  if (reinterpret_cast<uintptr_t>(to) % 16 != 0 || reinterpret_cast<uintptr_t>(from) % 16 != 0) {
    throw std::runtime_error("an asynchronous copy is not aligned to 16 bytes");
  }
  copies_begun().push_back({to, from, something});
}

inline void finish_copies() {
  for (const Copy& copy : copies_begun()) {
    if (copy.something) {
      std::memcpy(copy.to, copy.from, 16);
    } else {
      std::memset(copy.to, 0, 16);
    }
  }
  copies_begun().clear();
}

}  // namespace emulation
