#include "models/profile.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

namespace rkif {
namespace {

using Clock = std::chrono::steady_clock;

struct Open {
  Clock::time_point started;
  Clock::duration inside{};
};

struct Total {
  Clock::duration time{};
  int64_t calls = 0;
};

// Of one thread: its operators that have begun, and the callback where it is the thread that measures.
thread_local std::vector<Open> open;
thread_local std::optional<at::CallbackHandle> callback;

// Of all threads that compute for the one that measures: libtorch gives a thread's callbacks on to those of its
// backward passes.
std::mutex mutex;
std::unordered_map<std::string, Total> totals;

std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction&) {
  open.push_back({Clock::now()});
  return nullptr;
}

// Operators of a thread end in the reverse of the order in which they began.
void end(const at::RecordFunction& function, at::ObserverContext*) {
  if (open.empty()) return;
  const Open one = open.back();
  open.pop_back();
  const Clock::duration whole = Clock::now() - one.started;
  {
    const std::lock_guard lock(mutex);
    Total& total = totals[function.name()];
    total.time += whole - one.inside;
    ++total.calls;
  }
  if (!open.empty()) open.back().inside += whole;
}

std::unordered_map<std::string, Total> stop() {
  if (callback) at::removeCallback(*callback);
  callback.reset();
  open.clear();
  const std::lock_guard lock(mutex);
  return std::exchange(totals, {});
}

}  // namespace

void start_profile() {
  stop();
  at::RecordFunctionCallback measure(begin, end);
  measure.scopes({at::RecordScope::FUNCTION});
  callback = at::addThreadLocalCallback(measure);
}

std::vector<OperatorTime> end_profile() {
  if (!callback) return {};
  std::vector<OperatorTime> found;
  for (const auto& [name, total] : stop())
    found.push_back({name, std::chrono::duration<double>(total.time).count(), total.calls});
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  return found;
}

}  // namespace rkif
