#include "memory/device_memory.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace rkif {
namespace {

std::atomic<const DeviceMemory*> opened{nullptr};

std::string gigabytes(int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.2f GB", static_cast<double>(bytes) / 1e9);
  return text;
}

}  // namespace

void set_device_memory(const DeviceMemory* memory) { opened.store(memory, std::memory_order_release); }

const DeviceMemory& device_memory() {
  const DeviceMemory* memory = opened.load(std::memory_order_acquire);
  if (memory == nullptr)
    throw std::logic_error("no GPU has been opened, of which memory could be told: open one first");
  return *memory;
}

void limit_device_memory(int device, int64_t bytes) {
  const DeviceMemory& memory = device_memory();
  const int64_t total = memory.total(device);
  if (bytes == 0 || bytes >= total) {
    memory.limit(device, total);
    return;
  }
  memory.trim();
  const int64_t reserved = memory.use(device).reserved;
  if (reserved > bytes) {
    throw std::invalid_argument("the memory of GPU " + std::to_string(device) + " is to be limited to " +
                                gigabytes(bytes) + ", but this process uses " + gigabytes(reserved) +
                                " of it: limit it before models are loaded, or dispose of some first");
  }
  memory.limit(device, bytes);
}

void trim_device_memory() noexcept {
  const DeviceMemory* memory = opened.load(std::memory_order_acquire);
  if (memory == nullptr) return;
  try {
    memory->trim();
  } catch (const std::exception&) {
  }
}

}  // namespace rkif
