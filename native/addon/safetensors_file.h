#pragma once
#include "addon/handle.h"
#include "checkpoints/safetensors.h"

namespace rkif::addon {

class FileHandle final : public Handle<FileHandle, SafetensorsFile> {
 public:
  static constexpr const char* kName = "SafetensorsFile";
  static const napi_type_tag kTag;
  static Napi::FunctionReference& constructor(Environment& e) { return e.file_class; }
  static void define(Napi::Env env);
  using Handle::Handle;

 private:
  Napi::Value path(const Napi::CallbackInfo&);
  Napi::Value tensors(const Napi::CallbackInfo&);
  Napi::Value metadata(const Napi::CallbackInfo&);
  Napi::Value read_float32(const Napi::CallbackInfo&);
  Napi::Value read_bytes(const Napi::CallbackInfo&);
  void read_into(const Napi::CallbackInfo&);
  void dispose(const Napi::CallbackInfo&) { release(); }
};

// Addon functions.
Napi::Value open_safetensors(const Napi::CallbackInfo& info);
Napi::Value write_safetensors(const Napi::CallbackInfo& info);

}  // namespace rkif::addon
