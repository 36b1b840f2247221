// The addon's exports; lib/native/contract.ts describes them, and a test compares the two.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <napi.h>
#include <torch/version.h>

#include "addon/abort_flag.h"
#include "addon/cuda.h"
#include "addon/device_memory.h"
#include "addon/environment.h"
#include "addon/mask.h"
#include "addon/model.h"
#include "addon/model_family.h"
#include "addon/operations.h"
#include "addon/profile.h"
#include "addon/safetensors_file.h"
#include "addon/step_reports.h"
#include "addon/vector.h"
#include "memory/cpu_allocator.h"

namespace rkif::addon {

namespace {

Napi::Value set_threads(const Napi::CallbackInfo& info) {
  // OpenMP ends the process where it cannot start as many threads as it is told to.
  constexpr int64_t kMostThreads = 1024;
  int64_t threads = argument(info, 0, "setThreads: threads").integer(1, kMostThreads);
  Environment::of(info.Env()).enqueue([threads] { at::set_num_threads(static_cast<int>(threads)); });
  return info.Env().Undefined();
}

Napi::Value get_threads(const Napi::CallbackInfo& info) {
  return Environment::of(info.Env())
      .promise(
          info.Env(), [] { return at::get_num_threads(); },
          [](Napi::Env env, int threads) -> Napi::Value { return Napi::Number::New(env, threads); });
}

Napi::Object build_info(Napi::Env env) {
  Napi::Object build = Napi::Object::New(env);
  build.Set("libtorch", TORCH_VERSION);
#ifdef _OPENMP
  build.Set("openmp", true);
#else
  build.Set("openmp", false);
#endif
  build.Set("cpuCapability", at::get_cpu_capability());
  return build;
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  pool_cpu_memory();
  Environment::create(env);
  Napi::Object process = env.Global().Get("process").As<Napi::Object>();
  auto quit = Napi::Function::New(env, [](const Napi::CallbackInfo& info) { Environment::of(info.Env()).quit(); });
  process.Get("once").As<Napi::Function>().Call(process, {Napi::String::New(env, "exit"), quit});
  VectorHandle::define(env);
  MaskHandle::define(env);
  AbortHandle::define(env);
  FileHandle::define(env);
  ModelHandle::define(env);
  StepReportsHandle::define(env);

  exports.Set("build", build_info(env));
  const std::pair<const char*, Napi::Value (*)(const Napi::CallbackInfo&)> functions[] = {
      {"setThreads", set_threads},
      {"getThreads", get_threads},
      {"startProfile", start_profile},
      {"endProfile", end_profile},
      {"openCuda", open_cuda},
      {"limitDeviceMemory", limit_device_memory},
      {"deviceMemory", device_memory},
      {"resetPeakDeviceMemory", reset_peak_device_memory},
      {"createAbortFlag", create_abort_flag},
      {"createVector", create_vector},
      {"createMask", create_mask},
      {"createStepReports", create_step_reports},
      {"updateImportance", update_importance},
      {"score", score},
      {"quantiles", quantiles},
      {"select", select},
      {"fuse", fuse},
      {"fuseAdaptive", fuse_adaptive},
      {"adamwStep", adamw_step},
      {"maskRows", mask_rows},
      {"linearModules", linear_modules},
      {"loadModel", load_model},
      {"openSafetensors", open_safetensors},
      {"writeSafetensors", write_safetensors},
  };
  for (const auto& [name, function] : functions) exports.Set(name, Napi::Function::New(env, function, name));
  return exports;
}

}  // namespace

Napi::Object Init(Napi::Env env, Napi::Object exports) { return initialize(env, exports); }
NODE_API_MODULE(rkif, Init)

}  // namespace rkif::addon
