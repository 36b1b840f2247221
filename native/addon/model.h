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
  bool full = false;  // every weight trains
  // As of the calls made so far; the compute thread may be behind.
  int64_t frozen_adapters = 0;

  // Rows of all tensors of the flat vector.
  int64_t row_count() const;
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
  Napi::Value frozen_adapters(const Napi::CallbackInfo&);
  void freeze_adapter(const Napi::CallbackInfo&);
  Napi::Value copy_frozen(const Napi::CallbackInfo&);
  void set_frozen(const Napi::CallbackInfo&);
  Napi::Value add_orthogonality_gradient(const Napi::CallbackInfo&);
  Napi::Value add_overlap_gradient(const Napi::CallbackInfo&);
  void merge_adapter(const Napi::CallbackInfo&);
  void unmerge_adapter(const Napi::CallbackInfo&);
  void dispose(const Napi::CallbackInfo&);

  // The state of a model with an adapter; the error names the call.
  std::shared_ptr<ModelState> with_adapter(Napi::Env env, const std::string& call);

  Napi::ObjectReference parameters_;
  Napi::ObjectReference gradients_;
};

// Addon function.
Napi::Value load_model(const Napi::CallbackInfo& info);

}  // namespace rkif::addon
