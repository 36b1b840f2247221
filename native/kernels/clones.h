// Function multiversioning: a function marked so is compiled once per instruction set, and the dynamic loader picks the one that the CPU has.
// Lambdas and the bodies of parallel loops are not cloned, so inner loops live in marked static functions.
#pragma once
#include <cstdlib>  // defines __GLIBC__

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__GLIBC__)
#define RKIF_X86_CLONES 1
#define RKIF_CLONES __attribute__((target_clones("default", "avx2", "arch=x86-64-v4")))
// With fused multiply-add in the AVX2 clone too ("avx2" alone has none). Only of use in files that switch contraction on.
#define RKIF_CLONES_FMA __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define RKIF_X86_CLONES 0
#define RKIF_CLONES
#define RKIF_CLONES_FMA
#endif
#define RKIF_INLINE inline __attribute__((always_inline))  // a clone's callee is compiled for the clone only when it is inlined
