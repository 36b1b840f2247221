// Loops whose arrays are to be registers (RKIF_UNROLL), or whose loads are to be under way together (RKIF_UNROLL_BY).
#pragma once

#if defined(__CUDACC__)
#define RKIF_UNROLL _Pragma("unroll")
#define RKIF_PRAGMA(text) _Pragma(#text)
#define RKIF_UNROLL_BY(count) RKIF_PRAGMA(unroll count)
#else
#define RKIF_UNROLL
#define RKIF_UNROLL_BY(count)
#endif
