// Where a kernel's work goes on the GPU. Free of CUDA's headers: hosts that only call launchers include it.
#pragma once
#include <cstdint>

namespace rkif::cuda {

// A stream of one device, and scratch memory in that stream's order: what is released may be handed out again to later
// work of the same stream at once.
struct Context {
  void* stream = nullptr;  // cudaStream_t
  int multiprocessors = 1;
  void* (*allocate)(int64_t bytes, void* stream) = nullptr;
  void (*release)(void* memory, void* stream) = nullptr;
};

// Scratch memory for the launches of one call, aligned to 256 bytes.
template <class T>
class Scratch {
 public:
  Scratch(const Context& context, int64_t count)
      : context_(context),
        data_(static_cast<T*>(context.allocate(count * static_cast<int64_t>(sizeof(T)), context.stream))) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { context_.release(data_, context_.stream); }
  T* data() const { return data_; }

 private:
  const Context& context_;
  T* data_;
};

}  // namespace rkif::cuda
