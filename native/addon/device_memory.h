#pragma once
#include <napi.h>

namespace rkif::addon {

// Addon functions: the memory of a GPU.
Napi::Value limit_device_memory(const Napi::CallbackInfo& info);
Napi::Value device_memory(const Napi::CallbackInfo& info);
Napi::Value reset_peak_device_memory(const Napi::CallbackInfo& info);

}  // namespace rkif::addon
