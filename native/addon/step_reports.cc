#include "addon/step_reports.h"

#include <ATen/ops/zeros.h>

#include <limits>
#include <vector>

#include "addon/vector.h"
#include "models/device.h"

namespace rkif::addon {

const napi_type_tag StepReportsHandle::kTag = {0x7a1d0f6e52b84c10, 0x9c3be24d81f05a06};

void StepReportsHandle::define(Napi::Env env) {
  Napi::Function cls = DefineClass(
      env, kName,
      {InstanceAccessor<&StepReportsHandle::capacity>("capacity"),
       InstanceAccessor<&StepReportsHandle::device>("device"),
       InstanceAccessor("disposed", &StepReportsHandle::get_disposed, nullptr),
       InstanceMethod<&StepReportsHandle::take>("take"), InstanceMethod<&StepReportsHandle::dispose>("dispose")});
  Environment::of(env).step_reports_class = Napi::Persistent(cls);
}

StepSlot StepReportsHandle::slot(const Argument& argument, at::Device device) {
  auto reports = from(argument["reports"]);
  require_device(argument["reports"], reports->device, device);
  const int64_t index = argument["index"].integer(0, reports->capacity - 1);
  return {std::move(reports), index};
}

Napi::Value StepReportsHandle::capacity(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(state(info.Env())->capacity));
}

Napi::Value StepReportsHandle::device(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), state(info.Env())->device.str());
}

Napi::Object to_object(Napi::Env env, const StepReport& report) {
  Napi::Object object = Napi::Object::New(env);
  const bool finite = report.gradient.non_finite == 0;
  object.Set("gradNorm", finite ? report.gradient.norm : std::numeric_limits<double>::quiet_NaN());
  object.Set("nonFinite", static_cast<double>(report.gradient.non_finite));
  object.Set("applied", report.applied != 0);
  return object;
}

Napi::Value StepReportsHandle::take(const Napi::CallbackInfo& info) {
  auto self = state(info.Env());
  const int64_t count = argument(info, 0, "take: count").integer(0, self->capacity);
  return Environment::of(info.Env())
      .promise(
          info.Env(),
          [self, count] {
            std::vector<StepReport> reports(count);
            if (count == 0) return reports;
            const at::Tensor here = on_host(self->room.narrow(0, 0, count * static_cast<int64_t>(sizeof(StepReport))));
            std::memcpy(reports.data(), here.const_data_ptr(), count * sizeof(StepReport));
            self->room.zero_();
            return reports;
          },
          [](Napi::Env env, const std::vector<StepReport>& reports) -> Napi::Value {
            Napi::Array array = Napi::Array::New(env, reports.size());
            for (uint32_t i = 0; i < reports.size(); ++i) {
              Napi::Object report = to_object(env, reports[i]);
              report.Set("lossSum", reports[i].loss_sum);
              report.Set("updates", static_cast<double>(reports[i].updates));
              array.Set(i, report);
            }
            return array;
          });
}

Napi::Value create_step_reports(const Napi::CallbackInfo& info) {
  auto state = std::make_shared<StepReportsState>();
  state->capacity = argument(info, 0, "createStepReports: capacity").integer(1, 1 << 20);
  Argument beside = argument(info, 1, "createStepReports: like");
  if (!beside.missing()) state->device = VectorHandle::from(beside)->device;
  Environment::of(info.Env()).enqueue([state] {
    state->room = at::zeros({state->capacity * static_cast<int64_t>(sizeof(StepReport))},
                            at::TensorOptions(at::kByte).device(state->device));
  });
  return StepReportsHandle::create(info.Env(), state);
}

}  // namespace rkif::addon
