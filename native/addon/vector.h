#pragma once
#include <ATen/core/Tensor.h>

#include <memory>

#include "addon/handle.h"
#include "models/device.h"

namespace rkif::addon {

struct VectorState {
  int64_t length = 0;
  at::Device device = at::kCPU;
  // Set on the compute thread, by the job that makes the vector; fp32, contiguous.
  at::Tensor tensor;
  // Owned by a model: not the caller's to dispose.
  bool owned = false;

  float* data() { return tensor.mutable_data_ptr<float>(); }
  // Those of the device that the vector is on.
  const Kernels& kernels() const { return kernels_of(tensor); }
};

// A state whose tensor is allocated (not cleared) by an enqueued job.
std::shared_ptr<VectorState> make_vector(Environment& environment, int64_t length, at::Device device);

// Throws where what `argument` names is on another device than what it is used with.
void require_device(const Argument& argument, at::Device found, at::Device expected);

class VectorHandle final : public Handle<VectorHandle, VectorState> {
 public:
  static constexpr const char* kName = "Vector";
  static const napi_type_tag kTag;
  static Napi::FunctionReference& constructor(Environment& e) { return e.vector_class; }
  static void define(Napi::Env env);
  using Handle::Handle;

  // A vector of this length on this device, or an error that names both.
  static std::shared_ptr<VectorState> of_length(const Argument& argument, int64_t length, at::Device device);
  // A vector as long as the other and beside it.
  static std::shared_ptr<VectorState> like(const Argument& argument, const VectorState& other) {
    return of_length(argument, other.length, other.device);
  }
  // Ends a model's own vector together with the model.
  static void end(Napi::Object vector);

 private:
  Napi::Value length(const Napi::CallbackInfo&);
  void set(const Napi::CallbackInfo&);
  Napi::Value read(const Napi::CallbackInfo&);
  void fill(const Napi::CallbackInfo&);
  void copy_from(const Napi::CallbackInfo&);
  Napi::Value copy(const Napi::CallbackInfo&);
  void set_difference(const Napi::CallbackInfo&);
  Napi::Value minus(const Napi::CallbackInfo&);
  void add_scaled(const Napi::CallbackInfo&);
  void add_product(const Napi::CallbackInfo&);
  void scale(const Napi::CallbackInfo&);
  Napi::Value norm(const Napi::CallbackInfo&);
  void dispose(const Napi::CallbackInfo&);
};

}  // namespace rkif::addon
