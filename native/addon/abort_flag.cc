#include "addon/abort_flag.h"

namespace rkif::addon {

const napi_type_tag AbortHandle::kTag = {0x7a1d0f6e52b84c10, 0x9c3be24d81f05a03};

void AbortHandle::define(Napi::Env env) {
  Napi::Function cls = DefineClass(
      env, kName, {InstanceMethod<&AbortHandle::abort>("abort"), InstanceAccessor<&AbortHandle::aborted>("aborted")});
  Environment::of(env).abort_class = Napi::Persistent(cls);
}

AbortFlag AbortHandle::optional(const Argument& argument) {
  return argument.missing() ? Environment::of(argument.env()).closing : from(argument);
}

void AbortHandle::abort(const Napi::CallbackInfo& info) { state(info.Env())->store(true); }

Napi::Value AbortHandle::aborted(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), state(info.Env())->load());
}

Napi::Value create_abort_flag(const Napi::CallbackInfo& info) {
  return AbortHandle::create(info.Env(), Environment::of(info.Env()).make_flag());
}

}  // namespace rkif::addon
