#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "addon/handle.h"
#include "addon/vector.h"

namespace rkif::addon {

struct MaskState {
  int64_t length = 0;
  at::Device device = at::kCPU;
  // Set on the compute thread: one byte an element, and one threshold a segment (none for a mask given by its bits).
  at::Tensor bits;
  at::Tensor thresholds;  // fp32

  uint8_t* data() { return bits.mutable_data_ptr<uint8_t>(); }
  FusionMask for_fusion() const {
    return {bits.const_data_ptr<uint8_t>(), thresholds.const_data_ptr<float>(), thresholds.numel()};
  }
};

class MaskHandle final : public Handle<MaskHandle, MaskState> {
 public:
  static constexpr const char* kName = "Mask";
  static const napi_type_tag kTag;
  static Napi::FunctionReference& constructor(Environment& e) { return e.mask_class; }
  static void define(Napi::Env env);
  using Handle::Handle;

  // A mask as long as the vector and beside it, or an error that names what differs.
  static std::shared_ptr<MaskState> like(const Argument& argument, const VectorState& vector);

 private:
  Napi::Value length(const Napi::CallbackInfo&);
  Napi::Value read(const Napi::CallbackInfo&);
  Napi::Value count(const Napi::CallbackInfo&);
  Napi::Value thresholds(const Napi::CallbackInfo&);
  void dispose(const Napi::CallbackInfo&) { release(); }
};

// Addon functions.
Napi::Value create_mask(const Napi::CallbackInfo& info);
Napi::Value select(const Napi::CallbackInfo& info);
Napi::Value mask_rows(const Napi::CallbackInfo& info);

}  // namespace rkif::addon
