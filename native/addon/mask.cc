#include "addon/mask.h"

#include <ATen/ops/empty.h>

#include <cmath>
#include <cstring>
#include <iomanip>
#include <numeric>
#include <sstream>

#include "addon/vector.h"
#include "kernels/mask_rows.h"
#include "kernels/select.h"

namespace rkif::addon {

const napi_type_tag MaskHandle::kTag = {0x7a1d0f6e52b84c10, 0x9c3be24d81f05a02};

void MaskHandle::define(Napi::Env env) {
  Napi::Function cls = DefineClass(
      env, kName,
      {InstanceAccessor<&MaskHandle::length>("length"),
       InstanceAccessor("disposed", &MaskHandle::get_disposed, nullptr), InstanceMethod<&MaskHandle::read>("read"),
       InstanceMethod<&MaskHandle::count>("count"), InstanceMethod<&MaskHandle::thresholds>("thresholds"),
       InstanceMethod<&MaskHandle::dispose>("dispose")});
  Environment::of(env).mask_class = Napi::Persistent(cls);
}

std::shared_ptr<MaskState> MaskHandle::like(const Argument& argument, const VectorState& vector) {
  auto state = from(argument);
  if (state->length != vector.length)
    throw invalid_argument(argument.env(), argument.name + " has " + std::to_string(state->length) +
                                               " elements, expected " + std::to_string(vector.length));
  require_device(argument, state->device, vector.device);
  return state;
}

Napi::Value MaskHandle::length(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(state(info.Env())->length));
}

Napi::Value MaskHandle::read(const Napi::CallbackInfo& info) {
  auto self = state(info.Env());
  Target<Napi::Uint8Array> target(info.Env(), self->length);
  return Environment::of(info.Env())
      .promise(
          info.Env(),
          [self, data = target.data] {
            if (self->length == 0) return Done{};
            const at::Tensor here = on_host(self->bits);
            std::memcpy(data, here.const_data_ptr<uint8_t>(), self->length);
            return Done{};
          },
          target.convert());
}

Napi::Value MaskHandle::count(const Napi::CallbackInfo& info) {
  auto self = state(info.Env());
  return Environment::of(info.Env())
      .promise(
          info.Env(),
          [self] {
            const at::Tensor result = room_beside<int64_t>(self->bits, 1);
            kernels_of(self->bits).count_bits(self->length, self->data(), values_in<int64_t>(result));
            return read_value<int64_t>(result);
          },
          [](Napi::Env env, int64_t count) -> Napi::Value {
            return Napi::Number::New(env, static_cast<double>(count));
          });
}

Napi::Value MaskHandle::thresholds(const Napi::CallbackInfo& info) {
  auto self = state(info.Env());
  return Environment::of(info.Env())
      .promise(
          info.Env(), [self] { return on_host(self->thresholds); },
          [](Napi::Env env, const at::Tensor& values) -> Napi::Value {
            auto array = Napi::Float32Array::New(env, values.numel());
            std::copy_n(values.const_data_ptr<float>(), values.numel(), array.Data());
            return array;
          });
}

Napi::Value create_mask(const Napi::CallbackInfo& info) {
  Argument bits = argument(info, 0, "createMask: bits");
  if (!bits.value.IsTypedArray() || bits.value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
    bits.refuse("a Uint8Array");
  Napi::Uint8Array array = bits.value.As<Napi::Uint8Array>();
  std::vector<uint8_t> bytes(array.Data(), array.Data() + array.ElementLength());
  for (size_t i = 0; i < bytes.size(); ++i)
    if (bytes[i] > 1)
      throw invalid_argument(info.Env(), "createMask: bits[" + std::to_string(i) + "] is " + std::to_string(bytes[i]) +
                                             ", expected 0 or 1");
  auto state = std::make_shared<MaskState>();
  state->length = static_cast<int64_t>(bytes.size());
  Argument beside = argument(info, 1, "createMask: like");
  if (!beside.missing()) state->device = VectorHandle::from(beside)->device;
  Environment::of(info.Env()).enqueue([state, bytes = std::move(bytes)] {
    state->bits = tensor_beside(at::Tensor(), bytes, at::kByte);
    state->thresholds = at::empty({0}, at::kFloat);
    if (!state->device.is_cpu()) {
      state->bits = state->bits.to(state->device);
      state->thresholds = state->thresholds.to(state->device);
    }
  });
  return MaskHandle::create(info.Env(), state);
}

Napi::Value select(const Napi::CallbackInfo& info) {
  auto scores = VectorHandle::from(argument(info, 0, "select: scores"));
  Argument options = argument(info, 1, "select: options");
  double keep = options["keepFraction"].number();
  if (keep < 0 || keep > 1) options["keepFraction"].refuse("a fraction from 0 to 1");
  std::string by = options["by"].string();
  if (by != "quantile" && by != "top-k") options["by"].refuse("\"quantile\" or \"top-k\"");
  std::string compare = options["compare"].string();
  if (compare != ">=" && compare != ">") options["compare"].refuse("\">=\" or \">\"");
  std::vector<int64_t> segments;
  if (options["segments"].missing()) {
    segments = {scores->length};
  } else {
    segments = options["segments"].integers(1);
    // In double precision: lengths that an integer cannot add up must not pass for the right sum.
    double sum = std::accumulate(segments.begin(), segments.end(), 0.0);
    if (sum != static_cast<double>(scores->length)) {
      std::ostringstream message;
      message << "select: options.segments add up to " << std::setprecision(17) << sum
              << ", expected the scores' length " << scores->length;
      throw invalid_argument(info.Env(), message.str());
    }
  }
  if (scores->length == 0) throw invalid_argument(info.Env(), "select: scores is empty, expected at least one element");

  auto state = std::make_shared<MaskState>();
  state->length = scores->length;
  state->device = scores->device;
  bool top_k = by == "top-k";
  Compare comparison = compare == ">" ? Compare::kGreater : Compare::kGreaterEqual;
  Environment::of(info.Env()).enqueue([=, segments = std::move(segments)] {
    const at::TensorOptions options = scores->tensor.options();
    state->bits = at::empty({state->length}, options.dtype(at::kByte));
    state->thresholds = at::empty({static_cast<int64_t>(segments.size())}, options);
    const Kernels& kernels = scores->kernels();
    float* threshold = state->thresholds.mutable_data_ptr<float>();
    if (!top_k) {
      kernels.mask_by_quantile(segments, scores->data(), 1.0 - keep, comparison, state->data(), threshold);
      return;
    }
    std::vector<TopK> parts;
    for (int64_t n : segments) parts.push_back({n, std::llround(keep * static_cast<double>(n))});
    kernels.mask_top_k(parts, scores->data(), state->data(), threshold);
  });
  return MaskHandle::create(info.Env(), state);
}

Napi::Value mask_rows(const Napi::CallbackInfo& info) {
  auto values = VectorHandle::from(argument(info, 0, "maskRows: values"));
  auto sums = VectorHandle::from(argument(info, 1, "maskRows: sums"));
  require_device(argument(info, 1, "maskRows: sums"), sums->device, values->device);
  std::vector<RowMatrix> matrices;
  // In double precision: sizes that an integer cannot add up must not pass for the right sum.
  double rows = 0, length = 0;
  for (const Argument& tensor : argument(info, 2, "maskRows: tensors").elements()) {
    std::vector<int64_t> shape = tensor["shape"].integers(1);
    if (shape.size() != 2) tensor["shape"].refuse("the shape of a matrix");
    matrices.push_back({shape[0], shape[1]});
    rows += static_cast<double>(shape[0]);
    length += static_cast<double>(shape[0]) * static_cast<double>(shape[1]);
  }
  Argument quantile_at = argument(info, 3, "maskRows: at");
  double at = quantile_at.number();
  if (at < 0 || at > 1) quantile_at.refuse("a number from 0 to 1");
  if (length != static_cast<double>(values->length) || rows != static_cast<double>(sums->length)) {
    std::ostringstream message;
    message << "maskRows: tensors have " << std::setprecision(17) << length << " elements in " << rows
            << " rows, but values has " << values->length << " and sums has " << sums->length;
    throw invalid_argument(info.Env(), message.str());
  }
  Environment::of(info.Env()).enqueue([values, sums, matrices = std::move(matrices), at] {
    values->kernels().mask_rows(matrices, values->data(), sums->data(), at);
  });
  return info.Env().Undefined();
}

}  // namespace rkif::addon
