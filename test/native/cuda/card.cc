// The tests of the GPU's kernels on a GPU. They are written for memory that host and kernels share, so they get it:
// while they run, what `new` and libtorch's CPU tensors give out, and the stack, lie in page-locked memory that the
// card reads and writes across the bus, at the same addresses; every launch waits for its kernel. Slow, and the same
// kernels' machine code that runs are made of.
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <cuda_runtime_api.h>
#include <pthread.h>

#include <array>
#include <bit>
#include <cstdio>
#include <exception>
#include <mutex>

#include "cuda_test.h"

namespace rkif::test {
namespace {

void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

// Blocks of powers of two, each behind a line with its size; what is given back is kept by size.
class Shared {
 public:
  // Lives as long as the process: what libtorch keeps is given back after all else.
  static Shared& instance() {
    static Shared* const shared = [] {
      void* room = std::malloc(sizeof(Shared));
      return new (room) Shared();
    }();
    return *shared;
  }

  void open(size_t bytes) {
    check(cudaHostAlloc(reinterpret_cast<void**>(&begin_), bytes, cudaHostAllocMapped | cudaHostAllocPortable),
          "page-locked memory");
    void* on_card = nullptr;
    check(cudaHostGetDevicePointer(&on_card, begin_, 0), "page-locked memory on the card");
    if (on_card != begin_) throw std::runtime_error("the card has other addresses for the host's memory");
    next_ = begin_;
    end_ = begin_ + bytes;
  }
  bool has(const void* memory) const { return memory >= begin_ && memory < end_; }

  void* take(size_t bytes) {
    const size_t order = std::bit_width((bytes < kLine ? kLine : bytes) - 1);
    const std::lock_guard<std::mutex> lock(mutex_);
    if (Free* const found = free_[order]) {
      free_[order] = found->next;
      return found;
    }
    const size_t size = kLine + (size_t{1} << order);
    if (size > static_cast<size_t>(end_ - next_)) return nullptr;
    char* const block = std::exchange(next_, next_ + size);
    new (block) size_t(order);
    return block + kLine;
  }
  void give_back(void* memory) {
    const size_t order = *reinterpret_cast<size_t*>(static_cast<char*>(memory) - kLine);
    const std::lock_guard<std::mutex> lock(mutex_);
    free_[order] = new (memory) Free{free_[order]};
  }

 private:
  // What GPUs' and libtorch's memory is aligned to.
  static constexpr size_t kLine = 256;
  struct Free {
    Free* next;
  };
  char *begin_ = nullptr, *next_ = nullptr, *end_ = nullptr;
  std::array<Free*, 64> free_{};
  std::mutex mutex_;
};

// Of the thread that runs the tests: others' memory is nobody's to pass to a kernel.
thread_local bool shares = false;

void* take(size_t bytes) {
  void* const memory = shares ? Shared::instance().take(bytes) : std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void give_back(void* memory) {
  if (Shared::instance().has(memory)) {
    Shared::instance().give_back(memory);
  } else {
    std::free(memory);
  }
}

// Of CPU tensors, on whatever thread.
class SharedTensors final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* const memory = bytes == 0 ? nullptr : Shared::instance().take(bytes);
    if (bytes != 0 && memory == nullptr) throw std::bad_alloc();
    return {memory, memory, raw_deleter(), c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override {
    return [](void* memory) {
      if (memory != nullptr) Shared::instance().give_back(memory);
    };
  }
  void copy_data(void* to, const void* from, std::size_t count) const override { std::memcpy(to, from, count); }
};

constexpr size_t kSharedBytes = size_t{4} << 30, kStackBytes = size_t{64} << 20;

cuda::Context card;

struct Work {
  const std::function<void()>& run;
  std::exception_ptr error;
};

void* run_tests(void* given) {
  auto* const work = static_cast<Work*>(given);
  shares = true;
  try {
    check(cudaSetDevice(0), "cudaSetDevice");
    work->run();
  } catch (...) {
    work->error = std::current_exception();
  }
  shares = false;
  return nullptr;
}

}  // namespace

cuda::Context cuda_context() { return card; }

void on_card(const std::function<void()>& run) {
  // Read when CUDA is first called.
  setenv("CUDA_LAUNCH_BLOCKING", "1", 1);
  int count = 0;
  check(cudaGetDeviceCount(&count), "no GPU");
  check(cudaSetDevice(0), "cudaSetDevice");
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
  std::printf("%s\n", properties.name);
  card.multiprocessors = properties.multiProcessorCount;
  card.allocate = [](int64_t bytes, void* stream) -> void* {
    void* memory = nullptr;
    if (bytes == 0) return memory;
    check(cudaMallocAsync(&memory, static_cast<size_t>(bytes), static_cast<cudaStream_t>(stream)), "cudaMallocAsync");
    check(cudaMemsetAsync(memory, 0xff, static_cast<size_t>(bytes), static_cast<cudaStream_t>(stream)), "memset");
    return memory;
  };
  card.release = [](void* memory, void* stream) {
    if (memory != nullptr) cudaFreeAsync(memory, static_cast<cudaStream_t>(stream));
  };
  Shared::instance().open(kSharedBytes);
  static SharedTensors tensors;
  c10::SetCPUAllocator(&tensors, 255);

  void* const stack = Shared::instance().take(kStackBytes);
  pthread_attr_t attributes;
  pthread_t thread;
  Work work{run, nullptr};
  pthread_attr_init(&attributes);
  pthread_attr_setstack(&attributes, stack, kStackBytes);
  if (pthread_create(&thread, &attributes, run_tests, &work) != 0) throw std::runtime_error("no thread");
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  if (work.error) std::rethrow_exception(work.error);
  // Of the kernels that failed without anybody having asked.
  check(cudaDeviceSynchronize(), "after the tests");
}

}  // namespace rkif::test

void* operator new(size_t bytes) { return rkif::test::take(bytes); }
void* operator new[](size_t bytes) { return rkif::test::take(bytes); }
void operator delete(void* memory) noexcept { rkif::test::give_back(memory); }
void operator delete[](void* memory) noexcept { rkif::test::give_back(memory); }
void operator delete(void* memory, size_t) noexcept { rkif::test::give_back(memory); }
void operator delete[](void* memory, size_t) noexcept { rkif::test::give_back(memory); }
