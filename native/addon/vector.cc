#include "addon/vector.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace rkif::addon {

const napi_type_tag VectorHandle::kTag = {0x7a1d0f6e52b84c10, 0x9c3be24d81f05a01};

std::shared_ptr<VectorState> make_vector(Environment& environment, int64_t length, at::Device device) {
  auto state = std::make_shared<VectorState>();
  state->length = length;
  state->device = device;
  environment.enqueue(
      [state] { state->tensor = at::empty({state->length}, at::TensorOptions(at::kFloat).device(state->device)); });
  return state;
}

void require_device(const Argument& argument, at::Device found, at::Device expected) {
  if (found == expected) return;
  throw invalid_argument(argument.env(), argument.name + " is on " + found.str() + ", expected it on " +
                                             expected.str() + " beside what it is used with");
}

void VectorHandle::define(Napi::Env env) {
  Napi::Function cls = DefineClass(
      env, kName,
      {InstanceAccessor<&VectorHandle::length>("length"),
       InstanceAccessor("disposed", &VectorHandle::get_disposed, nullptr), InstanceMethod<&VectorHandle::set>("set"),
       InstanceMethod<&VectorHandle::read>("read"), InstanceMethod<&VectorHandle::fill>("fill"),
       InstanceMethod<&VectorHandle::copy_from>("copyFrom"), InstanceMethod<&VectorHandle::copy>("copy"),
       InstanceMethod<&VectorHandle::set_difference>("setDifference"), InstanceMethod<&VectorHandle::minus>("minus"),
       InstanceMethod<&VectorHandle::add_scaled>("addScaled"), InstanceMethod<&VectorHandle::add_product>("addProduct"),
       InstanceMethod<&VectorHandle::scale>("scale"), InstanceMethod<&VectorHandle::norm>("norm"),
       InstanceMethod<&VectorHandle::dispose>("dispose")});
  Environment::of(env).vector_class = Napi::Persistent(cls);
}

std::shared_ptr<VectorState> VectorHandle::of_length(const Argument& argument, int64_t length, at::Device device) {
  auto state = from(argument);
  if (state->length != length)
    throw invalid_argument(argument.env(), argument.name + " has " + std::to_string(state->length) +
                                               " elements, expected " + std::to_string(length));
  require_device(argument, state->device, device);
  return state;
}

void VectorHandle::end(Napi::Object vector) { Unwrap(vector)->release(); }

Napi::Value VectorHandle::length(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(state(info.Env())->length));
}

void VectorHandle::set(const Napi::CallbackInfo& info) {
  auto self = state(info.Env());
  Napi::Float32Array array = argument(info, 0, "set: values").float32s();
  Argument at = argument(info, 1, "set: offset");
  int64_t offset = at.missing() ? 0 : at.integer(0);
  int64_t count = static_cast<int64_t>(array.ElementLength());
  if (offset + count > self->length)
    throw invalid_argument(info.Env(), "set: values [" + std::to_string(offset) + ", " +
                                           std::to_string(offset + count) + ") do not fit a vector of " +
                                           std::to_string(self->length));
  std::vector<float> values(array.Data(), array.Data() + count);
  Environment::of(info.Env()).enqueue([self, offset, values = std::move(values)] {
    if (self->device.is_cpu()) {
      std::copy(values.begin(), values.end(), self->data() + offset);
    } else {
      self->tensor.narrow(0, offset, static_cast<int64_t>(values.size()))
          .copy_(tensor_beside(at::Tensor(), values, at::kFloat));
    }
  });
}

Napi::Value VectorHandle::read(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto self = state(env);
  Argument first = argument(info, 0, "read: offset"), many = argument(info, 1, "read: count");
  int64_t offset = first.missing() ? 0 : first.integer(0);
  int64_t count = many.missing() ? self->length - offset : many.integer(0);
  if (offset > self->length || count > self->length - offset)
    throw invalid_argument(env, "read: [" + std::to_string(offset) + ", " + std::to_string(offset + count) +
                                    ") is not inside a vector of " + std::to_string(self->length));
  Target<Napi::Float32Array> target(env, count);
  return Environment::of(env).promise(
      env,
      [self, offset, count, data = target.data] {
        if (count == 0) return Done{};
        const at::Tensor here = on_host(self->tensor.narrow(0, offset, count));
        std::memcpy(data, here.const_data_ptr<float>(), count * sizeof(float));
        return Done{};
      },
      target.convert());
}

void VectorHandle::fill(const Napi::CallbackInfo& info) {
  auto self = state(info.Env());
  float value = static_cast<float>(argument(info, 0, "fill: value").number());
  Environment::of(info.Env()).enqueue([self, value] { self->tensor.fill_(value); });
}

void VectorHandle::copy_from(const Napi::CallbackInfo& info) {
  auto self = state(info.Env());
  auto other = like(argument(info, 0, "copyFrom: other"), *self);
  Environment::of(info.Env()).enqueue([self, other] { self->tensor.copy_(other->tensor); });
}

Napi::Value VectorHandle::copy(const Napi::CallbackInfo& info) {
  Environment& environment = Environment::of(info.Env());
  auto self = state(info.Env());
  auto result = make_vector(environment, self->length, self->device);
  environment.enqueue([self, result] { result->tensor.copy_(self->tensor); });
  return create(info.Env(), result);
}

void VectorHandle::set_difference(const Napi::CallbackInfo& info) {
  auto self = state(info.Env());
  auto a = like(argument(info, 0, "setDifference: a"), *self);
  auto b = like(argument(info, 1, "setDifference: b"), *self);
  Environment::of(info.Env()).enqueue([self, a, b] {
    self->kernels().difference(self->length, a->data(), b->data(), self->data());
  });
}

Napi::Value VectorHandle::minus(const Napi::CallbackInfo& info) {
  Environment& environment = Environment::of(info.Env());
  auto self = state(info.Env());
  auto other = like(argument(info, 0, "minus: other"), *self);
  auto result = make_vector(environment, self->length, self->device);
  environment.enqueue(
      [self, other, result] { self->kernels().difference(self->length, self->data(), other->data(), result->data()); });
  return create(info.Env(), result);
}

void VectorHandle::add_scaled(const Napi::CallbackInfo& info) {
  auto self = state(info.Env());
  auto other = like(argument(info, 0, "addScaled: other"), *self);
  float factor = static_cast<float>(argument(info, 1, "addScaled: scale").number());
  Environment::of(info.Env()).enqueue([self, other, factor] {
    self->kernels().add_scaled(self->length, self->data(), other->data(), factor);
  });
}

void VectorHandle::add_product(const Napi::CallbackInfo& info) {
  auto self = state(info.Env());
  auto a = like(argument(info, 0, "addProduct: a"), *self);
  auto b = like(argument(info, 1, "addProduct: b"), *self);
  float factor = static_cast<float>(argument(info, 2, "addProduct: scale").number());
  Environment::of(info.Env()).enqueue([self, a, b, factor] {
    self->kernels().add_product(self->length, self->data(), a->data(), b->data(), factor);
  });
}

void VectorHandle::scale(const Napi::CallbackInfo& info) {
  auto self = state(info.Env());
  float factor = static_cast<float>(argument(info, 0, "scale: factor").number());
  Environment::of(info.Env()).enqueue([self, factor] { self->kernels().scale(self->length, self->data(), factor); });
}

Napi::Value VectorHandle::norm(const Napi::CallbackInfo& info) {
  auto self = state(info.Env());
  return Environment::of(info.Env())
      .promise(
          info.Env(),
          [self] {
            const at::Tensor result = room_beside<Norm>(self->tensor, 1);
            self->kernels().norm(self->length, self->data(), values_in<Norm>(result));
            return read_value<Norm>(result);
          },
          [](Napi::Env env, const Norm& norm) -> Napi::Value {
            Napi::Object result = Napi::Object::New(env);
            result.Set("norm", norm.norm);
            result.Set("nonFinite", static_cast<double>(norm.non_finite));
            return result;
          });
}

void VectorHandle::dispose(const Napi::CallbackInfo& info) {
  if (state_ && state_->owned)
    throw invalid_argument(info.Env(), "this Vector belongs to a model and ends with it: dispose the model");
  release();
}

}  // namespace rkif::addon
