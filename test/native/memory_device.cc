// The memory of GPUs: its limit, and who asks where there is none.
#include <stdexcept>
#include <string>

#include "check.h"
#include "memory/device_memory.h"

using namespace rkif;

namespace {

constexpr int64_t kGB = 1000000000;

// A card of 24 GB, of which the pool has taken 10 and uses 6.
class FakeMemory final : public DeviceMemory {
 public:
  FakeMemory() { set_device_memory(this); }
  ~FakeMemory() override { set_device_memory(nullptr); }
  int64_t total(int) const override { return 24 * kGB; }
  void limit(int device, int64_t bytes) const override {
    limits += std::to_string(device) + ":" + std::to_string(bytes / kGB) + " ";
  }
  DeviceMemoryUse use(int) const override { return {6 * kGB, reserved, 7 * kGB, 10 * kGB}; }
  void reset_peaks(int) const override {}
  void trim() const override {
    if (broken) throw std::runtime_error("an earlier kernel failed");
    reserved = 6 * kGB;
  }

  bool broken = false;
  mutable int64_t reserved = 10 * kGB;
  mutable std::string limits;
};

}  // namespace

TEST("device memory: a limit, none, and one beyond the card") {
  const FakeMemory memory;
  limit_device_memory(1, 8 * kGB);
  limit_device_memory(0, 0);
  limit_device_memory(0, 30 * kGB);
  CHECK_EQUAL(memory.limits, std::string("1:8 0:24 0:24 "));
}

TEST("device memory: a limit below what is in use is refused, what is only kept is given back first") {
  const FakeMemory memory;
  limit_device_memory(0, 6 * kGB);
  CHECK_THROWS(limit_device_memory(0, 6 * kGB - 1), std::invalid_argument,
               "GPU 0 is to be limited to 6.00 GB, but this process uses 6.00 GB of it: limit it before");
  CHECK_EQUAL(memory.limits, std::string("0:6 "));
}

TEST("device memory: without a GPU there is none to limit, and nothing to give back") {
  CHECK_THROWS(limit_device_memory(0, 1), std::logic_error, "no GPU has been opened");
  CHECK_THROWS(device_memory(), std::logic_error, "no GPU has been opened");
  trim_device_memory();
}

TEST("device memory: giving back from a card that is out of order does not end the process") {
  FakeMemory memory;
  memory.broken = true;
  trim_device_memory();
  memory.broken = false;
  trim_device_memory();
  CHECK_EQUAL(memory.reserved, 6 * kGB);
}
