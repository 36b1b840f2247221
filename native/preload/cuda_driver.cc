#include "preload/cuda_driver.h"

#include <dlfcn.h>

#include <type_traits>
#include <utility>

namespace rkif {
namespace {

// From cuda.h, which is not at hand where only the addon is built. The driver's interface is stable.
using Result = int;
using Device = int;
constexpr int kComputeCapabilityMajor = 75;
constexpr int kComputeCapabilityMinor = 76;
constexpr size_t kLongestName = 256;

struct Functions {
  Result (*init)(unsigned flags);
  Result (*version)(int* version);
  Result (*count)(int* count);
  Result (*device)(Device* device, int ordinal);
  Result (*name)(char* name, int length, Device device);
  Result (*attribute)(int* value, int attribute, Device device);
  Result (*memory)(size_t* bytes, Device device);
  Result (*error_text)(Result error, const char** text);
};

// The first name that `library` lacks; nullptr where it has all.
const char* resolve(void* library, Functions& functions) {
  const char* missing = nullptr;
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    if (function == nullptr && missing == nullptr) missing = name;
  };
  find(functions.init, "cuInit");
  find(functions.version, "cuDriverGetVersion");
  find(functions.count, "cuDeviceGetCount");
  find(functions.device, "cuDeviceGet");
  find(functions.name, "cuDeviceGetName");
  find(functions.attribute, "cuDeviceGetAttribute");
  find(functions.memory, "cuDeviceTotalMem_v2");
  find(functions.error_text, "cuGetErrorString");
  return missing;
}

}  // namespace

CudaDriver probe_cuda_driver() {
  CudaDriver driver;
  // Never closed: the driver has threads of its own from now on.
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* reason = dlerror();
    driver.missing = reason != nullptr ? reason : "libcuda.so.1 cannot be opened";
    return driver;
  }
  Functions cuda{};
  if (const char* name = resolve(library, cuda)) {
    driver.missing = std::string("libcuda.so.1 has no ") + name;
    return driver;
  }
  const auto succeeds = [&](Result error, const char* call) {
    if (error == 0) return true;
    const char* text = nullptr;
    cuda.error_text(error, &text);
    driver.failed = call;
    driver.error = error;
    driver.reason = text != nullptr ? text : "unknown error";
    return false;
  };
  cuda.version(&driver.version);  // works before initialisation and tells more about its failure
  int count = 0;
  if (!succeeds(cuda.init(0), "cuInit") || !succeeds(cuda.count(&count), "cuDeviceGetCount")) return driver;
  for (int i = 0; i < count; ++i) {
    Device handle = 0;
    char name[kLongestName] = "";
    size_t memory = 0;
    CudaDevice device;
    if (!succeeds(cuda.device(&handle, i), "cuDeviceGet") ||
        !succeeds(cuda.name(name, static_cast<int>(kLongestName), handle), "cuDeviceGetName") ||
        !succeeds(cuda.attribute(&device.major, kComputeCapabilityMajor, handle), "cuDeviceGetAttribute") ||
        !succeeds(cuda.attribute(&device.minor, kComputeCapabilityMinor, handle), "cuDeviceGetAttribute") ||
        !succeeds(cuda.memory(&memory, handle), "cuDeviceTotalMem")) {
      return driver;
    }
    name[kLongestName - 1] = '\0';
    device.name = name;
    device.memory = memory;
    driver.devices.push_back(std::move(device));
  }
  return driver;
}

}  // namespace rkif
