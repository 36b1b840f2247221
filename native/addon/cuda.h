#pragma once
#include <c10/core/Device.h>
#include <napi.h>

#include "addon/arguments.h"

namespace rkif::addon {

// Addon function: opens the library of CUDA kernels.
Napi::Value open_cuda(const Napi::CallbackInfo& info);

// "cpu", "cuda" or "cuda:N"; anything else is refused.
at::Device device_of(const Argument& argument);
// The same without "cpu".
at::Device gpu_of(const Argument& argument);

}  // namespace rkif::addon
