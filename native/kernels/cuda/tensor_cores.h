// Tensor cores of sm_80 and later: products of bfloat16 matrices that the lanes of a warp hold in fragments, and copies
// to shared memory that run beside them. "g" and "t" below are a lane's number / 4 and % 4.
#pragma once
#include "kernels/bfloat16.h"
#include "kernels/cuda/grid.h"

#if !defined(__CUDACC__)
#include "tensor_core_emulation.h"
#endif

namespace rkif::cuda {

// Two numbers rounded to bfloat16, the first in the low half, as fragments hold them.
__device__ inline uint32_t packed(float first, float second) {
#if defined(__CUDACC__)
  uint32_t bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(second), "f"(first));
  return bits;
#else
  Bfloat16 low, high;
  store(first, low);
  store(second, high);
  return uint32_t{high.bits} << 16 | low.bits;
#endif
}

// sums += a b; a: 16 x 16, b: 16 x 8, sums: 16 x 8 in fp32. A lane holds
// of a: rows g, g + 8, g, g + 8 of columns 2 t, 2 t + 1 (the first two) and 2 t + 8, 2 t + 9 (the others),
// of b: rows 2 t, 2 t + 1 (b0) and 2 t + 8, 2 t + 9 (b1) of column g,
// of sums: columns 2 t, 2 t + 1 of row g (the first two) and row g + 8.
__device__ inline void multiply_add(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if defined(__CUDACC__)
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  emulation::multiply_add(sums, a, b0, b1);
#endif
}

// Four 8 x 8 matrices from shared memory: lane i names the 16 bytes of row i % 8 of matrix i / 8. Of each matrix the
// lane receives row g, columns 2 t, 2 t + 1.
__device__ inline void load_matrices(const Bfloat16* row, uint32_t (&to)[4]) {
#if defined(__CUDACC__)
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
#else
  emulation::load_matrices(row, to, false);
#endif
}

// The same of the transposed matrices: rows 2 t, 2 t + 1 of column g.
__device__ inline void load_transposed(const Bfloat16* row, uint32_t (&to)[4]) {
#if defined(__CUDACC__)
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
#else
  emulation::load_matrices(row, to, true);
#endif
}

// Begins to copy 16 bytes from the device's memory to shared memory, both aligned to 16; zeros where there is nothing
// to copy. They are there for this thread after wait_for_copies(), for the others after a barrier that follows it.
__device__ inline void begin_copy(void* to, const void* from, bool something) {
#if defined(__CUDACC__)
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(to))),
      "l"(from), "r"(something ? 16 : 0)
      : "memory");
#else
  emulation::begin_copy(to, from, something);
#endif
}

__device__ inline void wait_for_copies() {
#if defined(__CUDACC__)
  asm volatile("cp.async.wait_all;" ::: "memory");
#else
  emulation::finish_copies();
#endif
}

}  // namespace rkif::cuda
