// Where the time of a thread's work goes: seconds of every libtorch operator by itself, and of the loops of our own
// that have a name (NamedWork). Costs next to nothing while nothing is measured.
#pragma once
#include <ATen/record_function.h>

#include <cstdint>
#include <string>
#include <vector>

namespace rkif {

struct OperatorTime {
  std::string name;
  // Without those of the operators it calls.
  double seconds;
  int64_t calls;
};

// The name that waits for a device have, such as for a loss; see on_host in device.h.
inline constexpr const char* kHostWait = "rkif::wait";
// Of kernels/head_products.h, wherever they are called.
inline constexpr const char* kHeadProducts = "rkif::head_products";

// Measures what this thread does from now on, and what the threads do that compute its backward passes on a GPU: a
// thread's time there is that of handing work to the GPU. What was measured before, by any thread, is dropped.
void start_profile();

// Ends it; nothing where none was started on this thread. Longest first.
std::vector<OperatorTime> end_profile();

// As long as it lives, its thread's time counts for `name`, which outlives it.
class NamedWork {
 public:
  explicit NamedWork(const char* name) {
    if (record_.isActive()) record_.before(name);
  }

 private:
  at::RecordFunction record_;
};

}  // namespace rkif
