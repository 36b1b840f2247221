// For kernels that are products and exponentials rather than formulas to be rounded step by step: fused multiply-add,
// which the project's build forbids by default, is faster and more precise there. Include it last: it switches
// contraction on for the rest of the file.
#pragma once
#include "kernels/clones.h"

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define RKIF_X86_VERSIONS 1
// As RKIF_CLONES, with the FMA instructions that "avx2" alone does not include.
#define RKIF_FUSED_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define RKIF_X86_VERSIONS 0
#define RKIF_FUSED_CLONES
#endif
#if defined(__clang__)
#pragma clang fp contract(fast)
#elif defined(__GNUC__)
// Exception flags, which nobody reads here, would turn a choice between two values into a branch.
#pragma GCC optimize("fp-contract=fast", "no-trapping-math")
#endif
