// The memory of a GPU: what the library of its kernels offers of libtorch's pool, from which tensors and kernels take
// theirs.
#pragma once
#include <cstdint>

namespace rkif {

// Bytes. Allocated: of tensors and of kernels under way; reserved: what the pool took of the card for them, and keeps.
// What libraries take by themselves (CUDA's context, some hundred MB) is in neither.
struct DeviceMemoryUse {
  int64_t allocated;
  int64_t reserved;
  // The most at once, since the beginning or the last reset_peaks().
  int64_t peak_allocated;
  int64_t peak_reserved;
};

class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;

  // Of the card, in bytes.
  virtual int64_t total(int device) const = 0;
  // The pool takes no more than this from now on, at most total().
  virtual void limit(int device, int64_t bytes) const = 0;
  virtual DeviceMemoryUse use(int device) const = 0;
  virtual void reset_peaks(int device) const = 0;
  // Returns to the driver what the pools of all cards keep and nothing uses. Waits for the cards.
  virtual void trim() const = 0;
};

}  // namespace rkif
