// What the tests of the .cu files share: a context, and runs in several orders of threads. The same tests run on an
// emulated grid (rkif_tests) and, compiled with RKIF_ON_CARD, on a GPU (rkif_cuda_tests, card.cc).
#pragma once
#include <cstdlib>
#include <cstring>
#include <functional>
#include <new>

#include "check.h"
#include "kernels/cuda/context.h"
#include "kernels_data.h"
#ifndef RKIF_ON_CARD
#include "cuda_emulation.h"
#endif

namespace rkif::test {

// Scratch memory holds no number until it is written.
#ifdef RKIF_ON_CARD
inline constexpr bool kOnCard = true;

// Of the card that on_card() opened.
cuda::Context cuda_context();

// Runs it in memory that the card reads and writes where it lies, stack included, and throws std::runtime_error where
// there is no card.
void on_card(const std::function<void()>& run);

namespace emulation {
inline void set_order(uint64_t) {}
}  // namespace emulation
#else
inline constexpr bool kOnCard = false;

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

inline void on_card(const std::function<void()>& run) { run(); }
#endif

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
