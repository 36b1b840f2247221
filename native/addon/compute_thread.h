// The one thread of the process on which every libtorch call runs, in the order of the calls, and the queue to it. It
// starts with the first Node environment that loads the addon and is joined when the last one goes.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace rkif::addon {

class ComputeThread {
 public:
  static ComputeThread& instance();

  // An owner is a Node environment. The thread lives while there is one.
  void add_owner();
  // Drops the owner's waiting jobs, waits for the one that runs, and joins the thread with the last owner.
  void remove_owner(const void* owner);

  // Drops the owner's waiting jobs and waits for the one that runs.
  void drain(const void* owner);

  // `job` must not throw.
  void enqueue(const void* owner, std::function<void()> job);

 private:
  struct Job {
    const void* owner;
    std::function<void()> run;
  };
  // Runs jobs until the thread of this number is no longer the current one.
  void loop(int64_t number);

  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable idle_;
  std::deque<Job> queue_;
  const void* running_for_ = nullptr;
  int owners_ = 0;
  // Counts threads: a new owner may start the next one before the last one has seen that it is to end.
  int64_t current_ = 0;
  std::thread thread_;
};

}  // namespace rkif::addon
