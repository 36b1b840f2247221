// What a Model does with adapters: freezing them, penalties between them, folding them into the base weights.
#include <ATen/ops/empty.h>

#include "addon/model.h"

namespace rkif::addon {

int64_t ModelState::row_count() const {
  int64_t rows = 0;
  for (const TensorLayout& tensor : model->layout()) rows += tensor.shape[0];
  return rows;
}

std::shared_ptr<ModelState> ModelHandle::with_adapter(Napi::Env env, const std::string& call) {
  auto self = state(env);
  if (self->full || self->parameters->length == 0) {
    throw invalid_argument(env, call + ": this model has no adapter; expected one loaded with trainable \"lora\"");
  }
  return self;
}

Napi::Value ModelHandle::frozen_adapters(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(state(info.Env())->frozen_adapters));
}

void ModelHandle::freeze_adapter(const Napi::CallbackInfo& info) {
  auto self = with_adapter(info.Env(), "freezeAdapter");
  ++self->frozen_adapters;
  Environment::of(info.Env()).enqueue([self] { self->model->freeze_adapter(); });
}

Napi::Value ModelHandle::copy_frozen(const Napi::CallbackInfo& info) {
  Environment& environment = Environment::of(info.Env());
  auto self = state(info.Env());
  auto result = make_vector(environment, self->frozen_adapters * self->parameters->length, self->parameters->device);
  environment.enqueue([self, result] { result->tensor.copy_(self->model->frozen()); });
  return VectorHandle::create(info.Env(), result);
}

void ModelHandle::set_frozen(const Napi::CallbackInfo& info) {
  auto self = with_adapter(info.Env(), "setFrozen");
  Environment& environment = Environment::of(info.Env());
  Argument given = argument(info, 0, "setFrozen: adapters");
  if (given.value.IsNull()) {
    self->frozen_adapters = 0;
    environment.enqueue([self] { self->model->set_frozen(at::empty({0}, self->parameters->tensor.options())); });
    return;
  }
  auto adapters = VectorHandle::from(given);
  require_device(given, adapters->device, self->parameters->device);
  const int64_t length = self->parameters->length;
  if (adapters->length % length != 0) {
    throw invalid_argument(info.Env(), "setFrozen: adapters has " + std::to_string(adapters->length) +
                                           " elements, expected a multiple of the parameters' " +
                                           std::to_string(length));
  }
  self->frozen_adapters = adapters->length / length;
  environment.enqueue([self, adapters] { self->model->set_frozen(adapters->tensor); });
}

namespace {

Napi::Value to_number(Napi::Env env, double value) { return Napi::Number::New(env, value); }

}  // namespace

Napi::Value ModelHandle::add_orthogonality_gradient(const Napi::CallbackInfo& info) {
  auto self = with_adapter(info.Env(), "addOrthogonalityGradient");
  Argument options = argument(info, 0, "addOrthogonalityGradient: options");
  Orthogonality penalty;
  penalty.l1 = options["l1"].number();
  penalty.l2 = options["l2"].number();
  std::string form = options["form"].string();
  if (form != "absolute" && form != "squared") options["form"].refuse("\"absolute\" or \"squared\"");
  if (form == "squared") penalty.form = Orthogonality::Form::kSquared;
  return Environment::of(info.Env())
      .promise(info.Env(), [=] { return self->model->add_orthogonality_gradient(penalty); }, to_number);
}

Napi::Value ModelHandle::add_overlap_gradient(const Napi::CallbackInfo& info) {
  auto self = with_adapter(info.Env(), "addOverlapGradient");
  double weight = argument(info, 0, "addOverlapGradient: weight").number();
  return Environment::of(info.Env())
      .promise(info.Env(), [=] { return self->model->add_overlap_gradient(weight); }, to_number);
}

void ModelHandle::merge_adapter(const Napi::CallbackInfo& info) {
  auto self = state(info.Env());
  Environment::of(info.Env()).enqueue([self] { self->model->merge_adapter(); });
}

void ModelHandle::unmerge_adapter(const Napi::CallbackInfo& info) {
  auto self = state(info.Env());
  Environment::of(info.Env()).enqueue([self] { self->model->unmerge_adapter(); });
}

}  // namespace rkif::addon
