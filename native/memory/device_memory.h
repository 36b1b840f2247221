// The memory of the GPU that the process has opened.
#pragma once
#include "kernels/device_memory.h"

namespace rkif {

// From now on that of the process' GPUs; null: none are open. It outlives every use.
void set_device_memory(const DeviceMemory* memory);

// Throws std::logic_error where no GPU has been opened.
const DeviceMemory& device_memory();

// The pool of a card takes no more than `bytes` from now on; 0, or as much as the card has: all of it. Throws
// std::invalid_argument where more is in use already.
void limit_device_memory(int device, int64_t bytes);

// Returns to the driver what the pool keeps and nothing uses: for whoever has nothing to compute. Nothing where no GPU
// has been opened; a card that is out of order says so when something is computed.
void trim_device_memory() noexcept;

}  // namespace rkif
