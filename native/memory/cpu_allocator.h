// The memory of libtorch's CPU tensors.
#pragma once

namespace rkif {

// From now on libtorch takes CPU tensors of 128 KiB and more from a pool that keeps what is given back. To be called
// before others use libtorch.
void pool_cpu_memory();

// Returns to the system what the pool keeps, until the next tensor is made: for whoever has nothing to compute.
void trim_cpu_memory();

}  // namespace rkif
