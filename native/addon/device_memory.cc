#include "addon/device_memory.h"

#include "addon/arguments.h"
#include "addon/cuda.h"
#include "addon/environment.h"
#include "addon/handle.h"
#include "memory/device_memory.h"

namespace rkif::addon {

Napi::Value limit_device_memory(const Napi::CallbackInfo& info) {
  const int gpu = gpu_of(argument(info, 0, "limitDeviceMemory: device")).index();
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
  const int gpu = gpu_of(argument(info, 0, "deviceMemory: device")).index();
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
  const int gpu = gpu_of(argument(info, 0, "resetPeakDeviceMemory: device")).index();
  Environment::of(info.Env()).enqueue([gpu] { rkif::device_memory().reset_peaks(gpu); });
  return info.Env().Undefined();
}

}  // namespace rkif::addon
