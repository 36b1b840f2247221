#include "models/profile.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <unordered_map>

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

struct Profile {
  std::optional<at::CallbackHandle> callback;
  std::vector<Open> open;
  std::unordered_map<std::string, Total> totals;
};

thread_local Profile profile;

std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction&) {
  profile.open.push_back({Clock::now()});
  return nullptr;
}

// Operators of a thread end in the reverse of the order in which they began.
void end(const at::RecordFunction& function, at::ObserverContext*) {
  if (profile.open.empty()) return;
  const Open one = profile.open.back();
  profile.open.pop_back();
  const Clock::duration whole = Clock::now() - one.started;
  Total& total = profile.totals[function.name()];
  total.time += whole - one.inside;
  ++total.calls;
  if (!profile.open.empty()) profile.open.back().inside += whole;
}

void stop() {
  if (profile.callback) at::removeCallback(*profile.callback);
  profile = {};
}

}  // namespace

void start_profile() {
  stop();
  at::RecordFunctionCallback callback(begin, end);
  callback.scopes({at::RecordScope::FUNCTION});
  profile.callback = at::addThreadLocalCallback(callback);
}

std::vector<OperatorTime> end_profile() {
  std::vector<OperatorTime> found;
  for (const auto& [name, total] : profile.totals)
    found.push_back({name, std::chrono::duration<double>(total.time).count(), total.calls});
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  stop();
  return found;
}

}  // namespace rkif
