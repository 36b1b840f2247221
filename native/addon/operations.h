// The addon's functions over vectors: the method's kernels, checked and enqueued.
#pragma once
#include <napi.h>

namespace rkif::addon {

Napi::Value create_vector(const Napi::CallbackInfo& info);
Napi::Value update_importance(const Napi::CallbackInfo& info);
Napi::Value score(const Napi::CallbackInfo& info);
Napi::Value quantiles(const Napi::CallbackInfo& info);
Napi::Value fuse(const Napi::CallbackInfo& info);
Napi::Value fuse_adaptive(const Napi::CallbackInfo& info);
Napi::Value adamw_step(const Napi::CallbackInfo& info);

}  // namespace rkif::addon
