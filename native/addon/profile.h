// Where the compute thread's time goes.
#pragma once
#include <napi.h>

namespace rkif::addon {

Napi::Value start_profile(const Napi::CallbackInfo& info);
Napi::Value end_profile(const Napi::CallbackInfo& info);

}  // namespace rkif::addon
