#pragma once
#include "addon/handle.h"
#include "addon/vector.h"
#include "models/model.h"

namespace rkif::addon {

struct ModelState {
  std::unique_ptr<Model> model;
  // The model's own flat vectors; their tensors share its memory.
  std::shared_ptr<VectorState> parameters = std::make_shared<VectorState>();
  std::shared_ptr<VectorState> gradients = std::make_shared<VectorState>();
  int64_t vocab_size = 0;
  bool encoder = false;
};

class ModelHandle final : public Handle<ModelHandle, ModelState> {
 public:
  static constexpr const char* kName = "Model";
  static const napi_type_tag kTag;
  static Napi::FunctionReference& constructor(Environment& e) { return e.model_class; }
  static void define(Napi::Env env);
  explicit ModelHandle(const Napi::CallbackInfo& info);

 private:
  Napi::Value layout(const Napi::CallbackInfo&);
  Napi::Value parameters(const Napi::CallbackInfo&);
  Napi::Value gradients(const Napi::CallbackInfo&);
  Napi::Value accumulate(const Napi::CallbackInfo&);
  Napi::Value loss(const Napi::CallbackInfo&);
  Napi::Value logits(const Napi::CallbackInfo&);
  Napi::Value generate(const Napi::CallbackInfo&);
  Napi::Value score_options(const Napi::CallbackInfo&);
  Napi::Value embed(const Napi::CallbackInfo&);
  void merge_adapter(const Napi::CallbackInfo&);
  void unmerge_adapter(const Napi::CallbackInfo&);
  void dispose(const Napi::CallbackInfo&);

  Napi::ObjectReference parameters_;
  Napi::ObjectReference gradients_;
};

// Addon functions.
Napi::Value linear_modules(const Napi::CallbackInfo& info);
Napi::Value load_model(const Napi::CallbackInfo& info);

}  // namespace rkif::addon
