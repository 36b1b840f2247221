#include "addon/compute_thread.h"

#include <chrono>
#include <utility>

#include "memory/cpu_allocator.h"
#include "memory/device_memory.h"

namespace rkif::addon {

namespace {
// After so long without a job the memory goes back to the system, and a GPU's to the others that share it: longer than
// a run's longest pause or a service's usual one. Who begins anew fills fresh pages, which takes a step of T5-small up
// to a third longer.
constexpr std::chrono::seconds kIdle{60};
}  // namespace

ComputeThread& ComputeThread::instance() {
  // Never destroyed: worker threads may still unload while static destructors run.
  static ComputeThread* thread = new ComputeThread;
  return *thread;
}

void ComputeThread::add_owner() {
  std::lock_guard lock(mutex_);
  if (owners_++ == 0) thread_ = std::thread([this, number = ++current_] { loop(number); });
}

void ComputeThread::remove_owner(const void* owner) {
  drain(owner);
  std::thread last;
  {
    std::lock_guard lock(mutex_);
    if (--owners_ == 0) {
      ++current_;
      last = std::move(thread_);
    }
  }
  wake_.notify_all();
  if (last.joinable()) last.join();
}

void ComputeThread::drain(const void* owner) {
  std::deque<Job> dropped;  // ends after the lock
  std::unique_lock lock(mutex_);
  std::deque<Job> kept;
  for (auto& job : queue_) (job.owner == owner ? dropped : kept).push_back(std::move(job));
  queue_ = std::move(kept);
  idle_.wait(lock, [&] { return running_for_ != owner; });
}

void ComputeThread::enqueue(const void* owner, std::function<void()> job) {
  {
    std::lock_guard lock(mutex_);
    queue_.push_back({owner, std::move(job)});
  }
  wake_.notify_one();
}

void ComputeThread::loop(int64_t number) {
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto called = [&] { return current_ != number || !queue_.empty(); };
    // By the system's clock: to wait by the steady one needs a newer glibc than the package asks for.
    const auto idle = std::chrono::system_clock::now();
    if (!wake_.wait_until(lock, idle + kIdle, called)) {
      lock.unlock();
      trim_cpu_memory();
      trim_device_memory();
      lock.lock();
      wake_.wait(lock, called);
    }
    if (current_ != number) break;
    Job job = std::move(queue_.front());
    queue_.pop_front();
    running_for_ = job.owner;
    lock.unlock();
    job.run();
    job.run = nullptr;  // what it captured is released here, not under the lock
    lock.lock();
    running_for_ = nullptr;
    idle_.notify_all();
  }
  lock.unlock();
  trim_cpu_memory();
  trim_device_memory();
}

}  // namespace rkif::addon
