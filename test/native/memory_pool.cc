#include <ATen/ops/empty.h>
#include <ATen/ops/fill.h>
#include <ATen/ops/sum.h>
#include <c10/core/CPUAllocator.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "memory/cpu_allocator.h"
#include "memory/pool.h"

using namespace rkif;

namespace {

constexpr std::size_t kGrain = MemoryPool::kGrain;
constexpr std::size_t kMiB = std::size_t{1} << 20;

char* take(MemoryPool& pool, std::size_t bytes) {
  void* block = pool.take(bytes);
  CHECK(block != nullptr);
  CHECK_EQUAL(reinterpret_cast<std::uintptr_t>(block) % kGrain, 0u);
  return static_cast<char*>(block);
}

// Blocks of random sizes come and go; every one must keep what its owner wrote at both ends.
void churn(MemoryPool& pool, unsigned seed, int rounds) {
  struct Mine {
    char* begin;
    std::size_t bytes;
    char mark;
  };
  std::mt19937 random(seed);
  std::vector<Mine> held;
  auto give_one = [&](std::size_t which) {
    const Mine mine = held[which];
    CHECK_EQUAL(mine.begin[0], mine.mark);
    CHECK_EQUAL(mine.begin[mine.bytes - 1], mine.mark);
    CHECK(pool.give(mine.begin));
    held.erase(held.begin() + static_cast<std::ptrdiff_t>(which));
  };
  for (int i = 0; i < rounds; ++i) {
    if (held.size() > 20 || (!held.empty() && random() % 2)) {
      give_one(random() % held.size());
    } else {
      const std::size_t bytes = 1 + random() % (3 * kMiB);
      char* begin = take(pool, bytes);
      const char mark = static_cast<char>(random());
      begin[0] = begin[bytes - 1] = mark;
      held.push_back({begin, bytes, mark});
    }
  }
  while (!held.empty()) give_one(held.size() - 1);
}

}  // namespace

TEST("memory pool: a block given back is handed out again, whole and in pieces") {
  MemoryPool pool;
  char* first = take(pool, 8 * kMiB);
  std::memset(first, 1, 8 * kMiB);
  CHECK(pool.give(first));
  CHECK_EQUAL(pool.usage().used, 0u);
  CHECK_EQUAL(pool.usage().kept, 8 * kMiB);
  char* left = take(pool, 3 * kMiB - 5);
  char* right = take(pool, 5 * kMiB);
  CHECK_EQUAL(left, first);
  CHECK_EQUAL(right, first + 3 * kMiB);
  CHECK_EQUAL(pool.usage().used, 8 * kMiB);
  CHECK_EQUAL(pool.usage().kept, 0u);
  // The same memory, not new pages filled with zeros.
  CHECK_EQUAL(right[100], 1);
  CHECK(pool.give(right));
  CHECK(pool.give(left));
  CHECK_EQUAL(take(pool, 8 * kMiB), first);
}

TEST("memory pool: the smallest block that is large enough is taken") {
  MemoryPool pool;
  char* blocks[5];
  const std::size_t sizes[] = {6 * kMiB, kGrain, 2 * kMiB, kGrain, 4 * kMiB};
  for (int i = 0; i < 5; ++i) blocks[i] = take(pool, sizes[i]);
  for (int i = 0; i < 5; i += 2) CHECK(pool.give(blocks[i]));
  CHECK_EQUAL(take(pool, 3 * kMiB), blocks[4]);
  CHECK_EQUAL(take(pool, 2 * kMiB), blocks[2]);
  CHECK_EQUAL(take(pool, 5 * kMiB), blocks[0]);
}

TEST("memory pool: what is mapped stays within a thirtieth and 64 MiB of the most that was in use") {
  MemoryPool pool;
  // Ever longer: none fits what is kept.
  for (std::size_t bytes = 10 * kMiB; bytes < 400 * kMiB; bytes += bytes / 3) {
    CHECK(pool.give(take(pool, bytes)));
    CHECK(pool.usage().kept <= bytes + bytes / 32 + 64 * kMiB + kGrain);
  }
  // The most that was in use may be kept: the next step needs it again.
  const std::size_t kept = pool.usage().kept;
  for (int i = 0; i < 100; ++i) CHECK(pool.give(take(pool, kMiB)));
  CHECK_EQUAL(pool.usage().kept, kept);
}

TEST("memory pool: trimmed, it keeps nothing until it is asked again") {
  MemoryPool pool;
  char* a = take(pool, kMiB);
  char* b = take(pool, kMiB);
  CHECK(pool.give(a));
  pool.trim();
  CHECK_EQUAL(pool.usage().kept, 0u);
  CHECK(pool.give(b));
  CHECK_EQUAL(pool.usage().kept, 0u);
  CHECK_EQUAL(pool.usage().used, 0u);
  CHECK(pool.give(take(pool, kMiB)));
  CHECK_EQUAL(pool.usage().kept, kMiB);
}

TEST("memory pool: blocks of random sizes stay apart, by several threads") {
  MemoryPool pool;
  std::vector<std::thread> threads;
  std::vector<std::string> problems(3);
  for (unsigned i = 0; i < 3; ++i)
    threads.emplace_back([&pool, i, &problem = problems[i]] {
      try {
        churn(pool, 17 + i, 3000);
      } catch (const std::exception& error) {
        problem = error.what();
      }
    });
  for (auto& thread : threads) thread.join();
  for (const auto& problem : problems) CHECK_EQUAL(problem, "");
  CHECK_EQUAL(pool.usage().used, 0u);
}

TEST("memory pool: what is not its own it refuses, and what the system does not have") {
  MemoryPool pool;
  int other = 0;
  CHECK(!pool.give(&other));
  CHECK(!pool.give(take(pool, kMiB) + kGrain));
  CHECK(pool.take(SIZE_MAX) == nullptr);
  CHECK(pool.take(SIZE_MAX / 2) == nullptr);
  // Still usable.
  take(pool, kMiB);
}

TEST("memory pool: libtorch's tensors are in it, and one that is too large says so as before") {
  pool_cpu_memory();
  void* first = nullptr;
  {
    at::Tensor tensor = at::empty({4 << 20});
    first = tensor.mutable_data_ptr();
    CHECK_EQUAL(reinterpret_cast<std::uintptr_t>(first) % kGrain, 0u);
    CHECK(c10::GetCPUAllocator()->is_simple_data_ptr(tensor.storage().data_ptr()));
  }
  CHECK_EQUAL(at::empty({4 << 20}).mutable_data_ptr(), first);
  trim_cpu_memory();
  // Short ones, and none at all.
  CHECK_EQUAL(at::empty({100}).fill_(2).sum().item<float>(), 200);
  CHECK_EQUAL(at::empty({0}).numel(), 0);
  std::string message;
  try {
    at::empty({int64_t{1} << 55});
  } catch (const c10::Error& error) {
    message = error.what_without_backtrace();
  }
  CHECK(message.find("can't allocate memory") != std::string::npos ||
        message.find("not enough memory") != std::string::npos);
}
