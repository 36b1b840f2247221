#pragma once
#include <atomic>
#include <memory>

#include "addon/handle.h"
#include "models/model.h"

namespace rkif::addon {

class AbortHandle final : public Handle<AbortHandle, std::atomic<bool>> {
 public:
  static constexpr const char* kName = "AbortFlag";
  static const napi_type_tag kTag;
  static Napi::FunctionReference& constructor(Environment& e) { return e.abort_class; }
  static void define(Napi::Env env);
  using Handle::Handle;

  // The flag of an optional argument; where there is none, the one that only the environment's end sets.
  static AbortFlag optional(const Argument& argument);

 private:
  void abort(const Napi::CallbackInfo&);
  Napi::Value aborted(const Napi::CallbackInfo&);
};

Napi::Value create_abort_flag(const Napi::CallbackInfo& info);

}  // namespace rkif::addon
