// Memory for large blocks that is kept when a block is given back and handed out again. malloc() maps large blocks
// afresh at every call and returns them to the system, which then fills every page with zeros again: of an evaluation
// of T5-small in fp32 on two cores that was a fifth.
#pragma once
#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <utility>

namespace rkif {

// Any thread may call it.
class MemoryPool {
 public:
  // Every block is as long as a multiple of this and begins at one; shorter requests are malloc's business.
  static constexpr std::size_t kGrain = std::size_t{64} << 10;

  MemoryPool() = default;
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;
  // Blocks that are in use stay mapped.
  ~MemoryPool() { trim(); }

  // At least `bytes` (above 0), undefined contents. Null where the system gives no more.
  void* take(std::size_t bytes);

  // False where the pool has not handed out this block.
  bool give(void* block);

  // Returns to the system what is not in use, and until the next take() what is given back. Who computes on pays for
  // fresh pages once.
  void trim();

  struct Usage {
    std::size_t used;
    // Mapped, not in use.
    std::size_t kept;
  };
  Usage usage() const;

 private:
  using Blocks = std::map<char*, std::size_t>;

  char* take_kept(std::size_t bytes);
  char* map(std::size_t bytes);
  void keep(char* begin, std::size_t bytes);
  void forget(Blocks::iterator kept);
  // Until no more than this is kept.
  void unmap_down_to(std::size_t bytes);

  mutable std::mutex mutex_;
  Blocks used_;
  Blocks kept_;
  // What is kept by size, for the smallest that is large enough.
  std::set<std::pair<std::size_t, char*>> kept_by_size_;
  std::size_t used_bytes_ = 0;
  std::size_t kept_bytes_ = 0;
  // The most in use at once since the last trim().
  std::size_t most_used_ = 0;
  bool trimmed_ = false;
};

}  // namespace rkif
