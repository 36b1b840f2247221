// Opens libtorch by full path before the addon is loaded. The addon names libtorch's libraries (DT_NEEDED) without a
// search path; the dynamic linker takes libraries of those names that are already open, whatever folder they came from.
// `process.dlopen` accepts only Node addons, hence this one, which itself needs nothing of libtorch.
#include <dlfcn.h>
#include <napi.h>

#include <cstdlib>
#include <mutex>
#include <string>
#include <vector>

namespace {

// As long as the process: libraries stay open, and a second copy of libtorch beside the first would corrupt both.
std::mutex mutex;
std::vector<std::string>& opened() {
  static auto* paths = new std::vector<std::string>();
  return *paths;
}

std::vector<std::string> pathsFrom(const Napi::CallbackInfo& info) {
  if (info.Length() != 1 || !info[0].IsArray()) {
    throw Napi::TypeError::New(info.Env(), "dlopenLibraries expects one array of paths");
  }
  const auto array = info[0].As<Napi::Array>();
  std::vector<std::string> paths;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Value path = array[i];
    if (!path.IsString()) throw Napi::TypeError::New(info.Env(), "dlopenLibraries expects paths as strings");
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

// dlopenLibraries(paths: string[]): void. Opens the libraries in order and keeps them open; throws with the dynamic
// linker's own words. The same paths again are a no-op; other paths than the first time are refused.
void dlopenLibraries(const Napi::CallbackInfo& info) {
  const std::vector<std::string> paths = pathsFrom(info);
  const std::lock_guard<std::mutex> lock(mutex);
  if (!opened().empty()) {
    if (opened() == paths) return;
    throw Napi::Error::New(info.Env(), "this process already uses " + opened().front());
  }
  const ShortWaiting waiting;
  std::vector<void*> handles;
  for (const std::string& path : paths) {
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      const char* reason = dlerror();
      const std::string message = reason != nullptr ? reason : path + " cannot be opened";
      // Nothing half-open may stay: the next candidate's libraries have the same names.
      while (!handles.empty()) {
        dlclose(handles.back());
        handles.pop_back();
      }
      throw Napi::Error::New(info.Env(), message);
    }
    handles.push_back(handle);
  }
  opened() = paths;
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("dlopenLibraries", Napi::Function::New(env, dlopenLibraries, "dlopenLibraries"));
  return exports;
}

}  // namespace

NODE_API_MODULE(rkif_preload, init)
