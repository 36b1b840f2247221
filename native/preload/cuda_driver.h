// What NVIDIA's driver says about this machine, asked without CUDA's runtime and without libtorch.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace rkif {

struct CudaDevice {
  std::string name;
  int major = 0;  // of the architecture, such as 9.0
  int minor = 0;
  uint64_t memory = 0;  // bytes
};

struct CudaDriver {
  // Why the driver could not be opened, in the dynamic linker's words; empty where it was.
  std::string missing;
  // The first call of the driver that failed, with the error's number and the driver's words for it; empty: none did.
  std::string failed;
  int error = 0;
  std::string reason;
  // 13020 for CUDA 13.2: the newest CUDA that this driver supports.
  int version = 0;
  std::vector<CudaDevice> devices;
};

// Initialises the driver in this process.
CudaDriver probe_cuda_driver();

}  // namespace rkif
