#include "addon/errors.h"

#include <c10/util/Exception.h>

#include <new>
#include <stdexcept>

#include "checkpoints/safetensors.h"
#include "models/gpu.h"
#include "models/model.h"

namespace rkif::addon {

Problem describe(std::exception_ptr error) {
  try {
    std::rethrow_exception(error);
  } catch (const Aborted& e) {
    return {"ABORTED", e.what()};
  } catch (const CheckpointInvalid& e) {
    return {"CHECKPOINT_INVALID", e.what()};
  } catch (const CheckpointMismatch& e) {
    return {"CHECKPOINT_MISMATCH", e.what()};
  } catch (const NotFinite& e) {
    return {"NON_FINITE", e.what()};
  } catch (const GpuUnavailable& e) {
    return {"CUDA_UNAVAILABLE", e.what()};
  } catch (const c10::OutOfMemoryError& e) {
    return {"OUT_OF_MEMORY", e.what_without_backtrace()};  // a GPU's
  } catch (const c10::Error& e) {
    std::string message = e.what_without_backtrace();
    // libtorch's CPU allocator has no exception type of its own; its wording depends on the platform.
    for (const char* words : {"can't allocate memory", "not enough memory"})
      if (message.find(words) != std::string::npos) return {"OUT_OF_MEMORY", message};
    return {"NATIVE", message};
  } catch (const std::bad_alloc&) {
    return {"OUT_OF_MEMORY", "out of memory in native code: use a smaller batch, or a 16-bit base"};
  } catch (const std::invalid_argument& e) {
    return {"INVALID_ARGUMENT", e.what()};
  } catch (const std::logic_error& e) {
    return {"INVALID_ARGUMENT", e.what()};
  } catch (const std::exception& e) {
    return {"NATIVE", e.what()};
  } catch (...) {
    return {"NATIVE", "unknown exception in native code"};
  }
}

Napi::Error make_error(Napi::Env env, const Problem& problem) {
  Napi::Error error = Napi::Error::New(env, problem.message);
  error.Set("name", Napi::String::New(env, "RkifError"));
  error.Set("code", Napi::String::New(env, problem.code));
  return error;
}

Napi::Error invalid_argument(Napi::Env env, const std::string& message) {
  return make_error(env, {"INVALID_ARGUMENT", message});
}

Napi::Error disposed(Napi::Env env, const std::string& what) {
  return make_error(env, {"DISPOSED", what + " was used after dispose()"});
}

}  // namespace rkif::addon
