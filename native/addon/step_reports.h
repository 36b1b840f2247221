#pragma once
#include <ATen/core/Tensor.h>

#include "addon/handle.h"
#include "kernels/step_report.h"

namespace rkif::addon {

struct StepReportsState {
  int64_t capacity = 0;
  at::Device device = at::kCPU;
  // Set on the compute thread: room for so many StepReports.
  at::Tensor room;

  at::Tensor slot(int64_t index) const {
    constexpr int64_t kSize = sizeof(StepReport);
    return room.narrow(0, index * kSize, kSize);
  }
  StepReport* report(int64_t index) { return static_cast<StepReport*>(slot(index).mutable_data_ptr()); }
};

// One of them, as { reports, index } names it.
struct StepSlot {
  std::shared_ptr<StepReportsState> reports;
  int64_t index = 0;
};

class StepReportsHandle final : public Handle<StepReportsHandle, StepReportsState> {
 public:
  static constexpr const char* kName = "StepReports";
  static const napi_type_tag kTag;
  static Napi::FunctionReference& constructor(Environment& e) { return e.step_reports_class; }
  static void define(Napi::Env env);
  using Handle::Handle;

  // The slot that an argument names, on this device.
  static StepSlot slot(const Argument& argument, at::Device device);

 private:
  Napi::Value capacity(const Napi::CallbackInfo&);
  Napi::Value device(const Napi::CallbackInfo&);
  Napi::Value take(const Napi::CallbackInfo&);
  void dispose(const Napi::CallbackInfo&) { release(); }
};

// What adamwStep says of a step.
Napi::Object to_object(Napi::Env env, const StepReport& report);

// Addon function.
Napi::Value create_step_reports(const Napi::CallbackInfo& info);

}  // namespace rkif::addon
