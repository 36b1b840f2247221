// Function multiversioning: a function marked so is compiled once per instruction set, and the dynamic loader picks the
// one that the CPU has. Lambdas and the bodies of parallel loops are not cloned, so inner loops live in marked static
// functions over a range. Results are equal on all instruction sets where the build forbids contraction
// (-ffp-contract=off) and the loop fixes the order of its sums.
#pragma once
#include <cstdint>
#include <cstdlib>  // defines __GLIBC__

#include "kernels/host_device.h"

// The choice at load time needs IFUNC, which is GNU's linker and C library.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__GLIBC__)
#define RKIF_X86_CLONES 1
#define RKIF_CLONES __attribute__((target_clones("default", "avx2", "arch=x86-64-v4")))
// With fused multiply-add in the AVX2 clone too ("avx2" alone has none). Only of use in files that switch contraction
// on.
#define RKIF_CLONES_FMA __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define RKIF_X86_CLONES 0
#define RKIF_CLONES
#define RKIF_CLONES_FMA
#endif
#define RKIF_INLINE       \
  RKIF_HOST_DEVICE inline \
      __attribute__((always_inline))  // a clone's callee is compiled for the clone only when it is inlined

// Before a loop whose output may be one of its inputs, element by element: without it GCC's test for overlap takes the
// scalar loop exactly then.
#if defined(__clang__)
#define RKIF_ELEMENTWISE _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define RKIF_ELEMENTWISE _Pragma("GCC ivdep")
#else
#define RKIF_ELEMENTWISE
#endif

namespace rkif {

// Elements below which a pass limited by memory is not worth another thread.
inline constexpr int64_t kParallelGrain = 32768;

}  // namespace rkif
