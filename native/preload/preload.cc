// Opens libtorch by full path before the addon is loaded. The addon names libtorch's libraries (DT_NEEDED) without a
// search path; the dynamic linker takes libraries of those names that are already open, whatever folder they came from.
// `process.dlopen` accepts only Node addons, hence this one, which itself needs nothing of libtorch. It asks NVIDIA's
// driver and opens libtorch's CUDA half, too, where that is wanted.
#include <dlfcn.h>
#include <napi.h>

#include <cstdlib>
#include <mutex>
#include <string>
#include <vector>

#include "preload/cuda_driver.h"

namespace {

// As long as the process: libraries stay open, and a second copy of libtorch beside the first would corrupt both.
std::mutex mutex;
struct Opened {
  std::vector<std::string> libraries;
  std::vector<std::string> cuda;
};
Opened& opened() {
  static auto* paths = new Opened();
  return *paths;
}

std::vector<std::string> pathsFrom(const Napi::CallbackInfo& info) {
  if (info.Length() != 1 || !info[0].IsArray()) {
    throw Napi::TypeError::New(info.Env(), "expected one array of paths");
  }
  const auto array = info[0].As<Napi::Array>();
  std::vector<std::string> paths;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Value path = array[i];
    if (!path.IsString()) throw Napi::TypeError::New(info.Env(), "expected paths as strings");
    paths.push_back(path.As<Napi::String>().Utf8Value());
  }
  return paths;
}

// While it lives, OpenMP reads that its threads shall spin a few microseconds when they wait, and sleep then. By
// default they spin for milliseconds at the end of every parallel loop: where another program (or another addon) uses a
// core as well, a training step takes twenty times as long. Without any spinning, waking them takes a quarter of a
// small model's bf16 step. libgomp reads this once, when it is opened; what the user has set is left alone, and child
// processes do not see it.
class ShortWaiting {
 public:
  ShortWaiting() : set_(getenv("OMP_WAIT_POLICY") == nullptr && getenv("GOMP_SPINCOUNT") == nullptr) {
    if (!set_) return;
#ifdef __linux__
    // libgomp takes the count as it is only where the policy is active; elsewhere it makes it 0 or 100 as soon as there
    // are more threads than cores, Node's own included.
    setenv("OMP_WAIT_POLICY", "active", 0);
    setenv("GOMP_SPINCOUNT", "2000", 0);
#else
    // Other OpenMP libraries would spin for ever.
    setenv("OMP_WAIT_POLICY", "passive", 0);
#endif
  }
  ~ShortWaiting() {
    if (!set_) return;
    unsetenv("OMP_WAIT_POLICY");
    unsetenv("GOMP_SPINCOUNT");
  }

 private:
  bool set_;
};

// Whether `paths` still have to be opened; other paths than those that were opened before are refused.
bool isNew(Napi::Env env, const std::vector<std::string>& before, const std::vector<std::string>& paths) {
  if (before.empty()) return true;
  if (before == paths) return false;
  throw Napi::Error::New(env, "this process already uses " + before.front());
}

// What keeps `path` from being opened, in the dynamic linker's words; empty where it was opened.
std::string open(const std::string& path, void*& handle) {
  handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle != nullptr) return "";
  const char* reason = dlerror();
  return reason != nullptr ? reason : path + " cannot be opened";
}

// dlopenLibraries(paths: string[]): void. Opens the libraries in order and keeps them open; throws with the dynamic
// linker's own words. The same paths again are a no-op; other paths than the first time are refused.
void dlopenLibraries(const Napi::CallbackInfo& info) {
  const std::vector<std::string> paths = pathsFrom(info);
  const std::lock_guard<std::mutex> lock(mutex);
  if (!isNew(info.Env(), opened().libraries, paths)) return;
  const ShortWaiting waiting;
  std::vector<void*> handles;
  for (const std::string& path : paths) {
    void* handle;
    const std::string problem = open(path, handle);
    if (!problem.empty()) {
      // Nothing half-open may stay: the next candidate's libraries have the same names.
      while (!handles.empty()) {
        dlclose(handles.back());
        handles.pop_back();
      }
      throw Napi::Error::New(info.Env(), problem);
    }
    handles.push_back(handle);
  }
  opened().libraries = paths;
}

// dlopenCudaLibraries(paths: string[]): void. As dlopenLibraries, for libtorch's CUDA half and the kernels, after it.
// libtorch takes its CUDA half into use at its first question about CUDA and asks once only: open it before any tensor
// is computed with. Nothing is closed after a failure: what was opened has registered itself with libtorch.
void dlopenCudaLibraries(const Napi::CallbackInfo& info) {
  const std::vector<std::string> paths = pathsFrom(info);
  const std::lock_guard<std::mutex> lock(mutex);
  if (!isNew(info.Env(), opened().cuda, paths)) return;
  for (const std::string& path : paths) {
    void* handle;
    const std::string problem = open(path, handle);
    if (!problem.empty()) throw Napi::Error::New(info.Env(), problem);
  }
  opened().cuda = paths;
}

// probeCudaDriver(): CudaDriver of cuda_driver.h, as an object.
Napi::Value probeCudaDriver(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const rkif::CudaDriver driver = rkif::probe_cuda_driver();
  Napi::Object result = Napi::Object::New(env);
  result.Set("missing", driver.missing);
  result.Set("failed", driver.failed);
  result.Set("error", driver.error);
  result.Set("reason", driver.reason);
  result.Set("version", driver.version);
  Napi::Array devices = Napi::Array::New(env, driver.devices.size());
  for (uint32_t i = 0; i < driver.devices.size(); ++i) {
    const rkif::CudaDevice& device = driver.devices[i];
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("name", device.name);
    entry.Set("major", device.major);
    entry.Set("minor", device.minor);
    entry.Set("memory", static_cast<double>(device.memory));
    devices.Set(i, entry);
  }
  result.Set("devices", devices);
  return result;
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("dlopenLibraries", Napi::Function::New(env, dlopenLibraries, "dlopenLibraries"));
  exports.Set("dlopenCudaLibraries", Napi::Function::New(env, dlopenCudaLibraries, "dlopenCudaLibraries"));
  exports.Set("probeCudaDriver", Napi::Function::New(env, probeCudaDriver, "probeCudaDriver"));
  return exports;
}

}  // namespace

NODE_API_MODULE(rkif_preload, init)
