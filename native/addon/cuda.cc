#include "addon/cuda.h"

#include <dlfcn.h>

#include <stdexcept>

#include "addon/handle.h"
#include "kernels/cuda/library.h"
#include "memory/device_memory.h"
#include "models/gpu.h"

namespace rkif::addon {

namespace {

template <class Function>
Function* symbol(void* library, const std::string& path, const char* name) {
  void* found = dlsym(library, name);
  if (!found) throw std::runtime_error(path + " has no symbol " + name + ": it is no kernel library of this package");
  return reinterpret_cast<Function*>(found);
}

// The process keeps the library: kernels may be under way whenever it could be closed.
void open_kernels(const std::string& path, at::Device device) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) throw std::runtime_error(std::string("the CUDA kernels cannot be loaded: ") + dlerror());
  const DeviceMemory* memory = symbol<CudaMemoryFunction>(library, path, kCudaMemoryName)();
  open_gpu(device, symbol<CudaKernelsFunction>(library, path, kCudaKernelsName)());
  set_device_memory(memory);
}

}  // namespace

Napi::Value open_cuda(const Napi::CallbackInfo& info) {
  std::string path = argument(info, 0, "openCuda: path").string();
  const Argument card = argument(info, 1, "openCuda: device");
  const at::Device device = card.missing() ? at::Device(at::kCUDA, 0) : gpu_of(card);
  return Environment::of(info.Env())
      .promise(
          info.Env(),
          [path, device] {
            open_kernels(path, device);
            return Done{};
          },
          to_undefined);
}

at::Device device_of(const Argument& argument) {
  const std::string name = argument.string();
  if (name == "cpu") return at::kCPU;
  if (name == "cuda") return at::Device(at::kCUDA, 0);
  if (name.rfind("cuda:", 0) == 0 && name.size() > 5 && name.size() < 8 &&
      name.find_first_not_of("0123456789", 5) == std::string::npos) {
    return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(std::stoi(name.substr(5))));
  }
  argument.refuse("\"cpu\", \"cuda\" or \"cuda:\" and a number");
}

at::Device gpu_of(const Argument& argument) {
  const at::Device device = device_of(argument);
  if (device.is_cpu()) argument.refuse("a GPU: \"cuda\" or \"cuda:\" and a number");
  return device;
}

}  // namespace rkif::addon
