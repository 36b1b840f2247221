// Marks functions that both the CPU's and the GPU's kernels call: one source, the same bits.
#pragma once

#if defined(__CUDACC__)
#define RKIF_HOST_DEVICE __host__ __device__
#else
#define RKIF_HOST_DEVICE
#endif
