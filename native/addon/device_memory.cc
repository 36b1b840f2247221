#include "addon/device_memory.h"

#include "addon/arguments.h"
#include "addon/cuda.h"
#include "addon/environment.h"
#include "addon/handle.h"
#include "memory/device_memory.h"

namespace rkif::addon {

namespace {

// Number of the GPU that the first argument names.
int gpu_of(const Napi::CallbackInfo& info, const char* name) {
  const Argument given = argument(info, 0, name);
  const at::Device device = device_of(given);
  if (!device.is_cuda()) given.refuse("a GPU: \"cuda\" or \"cuda:\" and a number");
  return device.index();
}

}  // namespace

Napi::Value limit_device_memory(const Napi::CallbackInfo& info) {
  const int gpu = gpu_of(info, "limitDeviceMemory: device");
  const Argument bytes = argument(info, 1, "limitDeviceMemory: bytes");
  const int64_t most = bytes.value.IsNull() ? 0 : bytes.integer(1);
  return Environment::of(info.Env())
      .promise(
          info.Env(),
          [gpu, most] {
            rkif::limit_device_memory(gpu, most);
            return Done{};
          },
          to_undefined);
}

Napi::Value device_memory(const Napi::CallbackInfo& info) {
  const int gpu = gpu_of(info, "deviceMemory: device");
  return Environment::of(info.Env())
      .promise(
          info.Env(), [gpu] { return rkif::device_memory().use(gpu); },
          [](Napi::Env env, const DeviceMemoryUse& use) -> Napi::Value {
            Napi::Object object = Napi::Object::New(env);
            object.Set("allocated", static_cast<double>(use.allocated));
            object.Set("reserved", static_cast<double>(use.reserved));
            object.Set("peakAllocated", static_cast<double>(use.peak_allocated));
            object.Set("peakReserved", static_cast<double>(use.peak_reserved));
            return object;
          });
}

Napi::Value reset_peak_device_memory(const Napi::CallbackInfo& info) {
  const int gpu = gpu_of(info, "resetPeakDeviceMemory: device");
  Environment::of(info.Env()).enqueue([gpu] { rkif::device_memory().reset_peaks(gpu); });
  return info.Env().Undefined();
}

}  // namespace rkif::addon
