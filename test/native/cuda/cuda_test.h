// What the tests of the .cu files share: a context without a GPU, and runs in several orders of threads.
#pragma once
#include <cstdlib>
#include <cstring>
#include <new>

#include "check.h"
#include "cuda_emulation.h"
#include "kernels/cuda/context.h"
#include "kernels_data.h"

namespace rkif::test {

// Scratch memory holds no number until it is written.
inline cuda::Context cuda_context() {
  cuda::Context context;
  context.multiprocessors = 2;
  context.allocate = [](int64_t bytes, void*) -> void* {
    void* memory = std::aligned_alloc(256, static_cast<size_t>((bytes + 255) / 256 * 256));
    if (memory == nullptr) throw std::bad_alloc();
    std::memset(memory, 0xff, static_cast<size_t>(bytes));
    return memory;
  };
  context.release = [](void* memory, void*) { std::free(memory); };
  return context;
}

// What a kernel computes must not depend on which thread is first.
template <class Run>
void in_thread_orders(const Run& run) {
  for (uint64_t seed : {0, 1, 2}) {
    emulation::set_order(seed);
    run();
  }
  emulation::set_order(0);
}

}  // namespace rkif::test
