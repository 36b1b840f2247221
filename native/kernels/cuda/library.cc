// What librkif_cuda.so was built with, for whoever opens it: a libtorch of another minor version, or an addon compiled
// from other kernel headers, would not fit it.
#include "kernels/cuda/library.h"

#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <torch/version.h>

#include <vector>

#include "kernels/cuda/cuda_kernels.h"

#define RKIF_EXPORT extern "C" __attribute__((visibility("default")))

// Version of libtorch, such as "2.15.0".
RKIF_EXPORT const char* rkif_cuda_libtorch() { return TORCH_VERSION; }

// Architectures with machine code, such as "80,86,89,90"; later ones run the PTX of the last.
RKIF_EXPORT const char* rkif_cuda_architectures() { return RKIF_CUDA_ARCHITECTURES; }

// Digest of the headers in native/kernels/: the layout of everything that the addon and this library hand each other.
RKIF_EXPORT const char* rkif_cuda_interface() { return RKIF_KERNELS; }

namespace rkif::cuda {
namespace {

// Of every card.
std::vector<int> multiprocessors() {
  int cards = 0;
  C10_CUDA_CHECK(cudaGetDeviceCount(&cards));
  std::vector<int> counts(static_cast<size_t>(cards));
  for (int card = 0; card < cards; ++card) {
    C10_CUDA_CHECK(cudaDeviceGetAttribute(&counts[card], cudaDevAttrMultiProcessorCount, card));
  }
  return counts;
}

// The stream that libtorch's own operators run on, and memory from its pool: in one order, without waiting.
Context current_context() {
  static const std::vector<int> of_cards = multiprocessors();
  const c10::cuda::CUDAStream stream = c10::cuda::getCurrentCUDAStream();
  Context context;
  context.stream = stream.stream();
  context.multiprocessors = of_cards.at(stream.device_index());
  context.allocate = [](int64_t bytes, void* on) {
    return c10::cuda::CUDACachingAllocator::raw_alloc_with_stream(static_cast<size_t>(bytes),
                                                                  static_cast<cudaStream_t>(on));
  };
  context.release = [](void* memory, void*) { c10::cuda::CUDACachingAllocator::raw_delete(memory); };
  return context;
}

}  // namespace
}  // namespace rkif::cuda

RKIF_EXPORT const rkif::Kernels* rkif_cuda_kernels() {
  static const auto kernels = rkif::cuda::cuda_kernels(rkif::cuda::current_context);
  return kernels.get();
}

RKIF_EXPORT const rkif::DeviceMemory* rkif_cuda_memory() { return rkif::cuda::pool_memory(); }
