#include "memory/cpu_allocator.h"

#include <c10/core/CPUAllocator.h>

#include "memory/pool.h"

namespace rkif {

namespace {

// malloc() keeps what is shorter by itself.
constexpr std::size_t kLeast = std::size_t{128} << 10;

// Never destroyed: tensors may end after static destructors.
MemoryPool& pool() {
  static MemoryPool* pool = new MemoryPool;
  return *pool;
}

class PooledAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    if (bytes >= kLeast)
      if (void* block = pool().take(bytes)) return {block, block, &give_back, c10::DeviceType::CPU};
    // Where the pool can have no more, libtorch's own says so.
    void* block = c10::GetDefaultCPUAllocator()->raw_allocate(bytes);
    return {block, block, &give_back, c10::DeviceType::CPU};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &give_back; }

  void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }

 private:
  static void give_back(void* block) {
    if (block != nullptr && !pool().give(block)) c10::GetDefaultCPUAllocator()->raw_deallocate(block);
  }
};

}  // namespace

void pool_cpu_memory() {
  // Lives as long as the process: libtorch keeps the address. Set by the first call only (std::call_once needs a newer
  // glibc than the package asks for).
  static const PooledAllocator* const allocator = [] {
    auto* made = new PooledAllocator;
    c10::SetCPUAllocator(made);
    return made;
  }();
  static_cast<void>(allocator);
}

void trim_cpu_memory() { pool().trim(); }

}  // namespace rkif
