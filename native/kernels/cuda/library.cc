// What librkif_cuda.so was built with, for whoever opens it: a libtorch of another minor version, or an addon compiled
// from other kernel headers, would not fit it.
#include <torch/version.h>

#define RKIF_EXPORT extern "C" __attribute__((visibility("default")))

// Version of libtorch, such as "2.15.0".
RKIF_EXPORT const char* rkif_cuda_libtorch() { return TORCH_VERSION; }

// Architectures with machine code, such as "80,86,89,90"; later ones run the PTX of the last.
RKIF_EXPORT const char* rkif_cuda_architectures() { return RKIF_CUDA_ARCHITECTURES; }

// Digest of the headers in native/kernels/: the layout of everything that the addon and this library hand each other.
RKIF_EXPORT const char* rkif_cuda_interface() { return RKIF_KERNELS; }
