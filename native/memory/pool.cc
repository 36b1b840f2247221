#include "memory/pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <iterator>

namespace rkif {

namespace {

// What may be mapped beyond the most that was ever in use at once: room for blocks that fit no hole.
std::size_t slack(std::size_t most_used) { return (std::size_t{64} << 20) + most_used / 32; }

}  // namespace

void* MemoryPool::take(std::size_t bytes) {
  if (bytes > SIZE_MAX - kGrain) return nullptr;
  bytes = (bytes + kGrain - 1) / kGrain * kGrain;
  std::lock_guard lock(mutex_);
  trimmed_ = false;
  char* block = take_kept(bytes);
  if (block == nullptr) {
    const std::size_t allowed = std::max(most_used_, used_bytes_ + bytes);
    // Never negative: what is in use and the block are allowed.
    unmap_down_to(allowed + slack(allowed) - used_bytes_ - bytes);
    block = map(bytes);
  }
  if (block == nullptr) {
    unmap_down_to(0);
    block = map(bytes);
  }
  if (block == nullptr) return nullptr;
  used_.emplace(block, bytes);
  used_bytes_ += bytes;
  most_used_ = std::max(most_used_, used_bytes_);
  return block;
}

bool MemoryPool::give(void* block) {
  std::lock_guard lock(mutex_);
  const auto found = used_.find(static_cast<char*>(block));
  if (found == used_.end()) return false;
  const auto [begin, bytes] = *found;
  used_.erase(found);
  used_bytes_ -= bytes;
  if (trimmed_) {
    ::munmap(begin, bytes);
  } else {
    keep(begin, bytes);
  }
  return true;
}

void MemoryPool::trim() {
  std::lock_guard lock(mutex_);
  unmap_down_to(0);
  most_used_ = used_bytes_;
  trimmed_ = true;
}

MemoryPool::Usage MemoryPool::usage() const {
  std::lock_guard lock(mutex_);
  return {used_bytes_, kept_bytes_};
}

// The smallest that is large enough; what it is longer stays.
char* MemoryPool::take_kept(std::size_t bytes) {
  const auto best = kept_by_size_.lower_bound({bytes, nullptr});
  if (best == kept_by_size_.end()) return nullptr;
  const auto [size, begin] = *best;
  forget(kept_.find(begin));
  if (size > bytes) keep(begin + bytes, size - bytes);
  return begin;
}

char* MemoryPool::map(std::size_t bytes) {
  // Pages begin at multiples of 4 to 64 KiB: a grain more, and both ends cut.
  void* mapped = ::mmap(nullptr, bytes + kGrain, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  char* const begin = static_cast<char*>(mapped);
  const std::size_t before = (kGrain - reinterpret_cast<std::uintptr_t>(begin) % kGrain) % kGrain;
  if (before > 0) ::munmap(begin, before);
  if (before < kGrain) ::munmap(begin + before + bytes, kGrain - before);
  return begin + before;
}

// Joined with what is kept beside it, however it was mapped.
void MemoryPool::keep(char* begin, std::size_t bytes) {
  auto after = kept_.lower_bound(begin);
  if (after != kept_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == begin) {
      begin = before->first;
      bytes += before->second;
      forget(before);
    }
  }
  if (after != kept_.end() && begin + bytes == after->first) {
    bytes += after->second;
    forget(after);
  }
  kept_.emplace(begin, bytes);
  kept_by_size_.emplace(bytes, begin);
  kept_bytes_ += bytes;
}

void MemoryPool::forget(Blocks::iterator kept) {
  kept_by_size_.erase({kept->second, kept->first});
  kept_bytes_ -= kept->second;
  kept_.erase(kept);
}

// The largest first: the fewest calls.
void MemoryPool::unmap_down_to(std::size_t bytes) {
  while (kept_bytes_ > bytes) {
    const auto [size, begin] = *kept_by_size_.rbegin();
    // Only as much of it as must go.
    const std::size_t excess = kept_bytes_ - bytes;
    const std::size_t gone = std::min(size, (excess + kGrain - 1) / kGrain * kGrain);
    forget(kept_.find(begin));
    ::munmap(begin + (size - gone), gone);
    if (gone < size) keep(begin, size - gone);
  }
}

}  // namespace rkif
