// C++ exceptions to JS errors: `name` "RkifError", `code` one of lib/errors.ts.
#pragma once
#include <napi.h>

#include <exception>
#include <string>

namespace rkif::addon {

struct Problem {
  std::string code;
  std::string message;
};

// What a JS caller is told about an exception; understands libtorch's, the checkpoints' and the models' types.
Problem describe(std::exception_ptr error);

Napi::Error make_error(Napi::Env env, const Problem& problem);
Napi::Error invalid_argument(Napi::Env env, const std::string& message);
Napi::Error disposed(Napi::Env env, const std::string& what);

}  // namespace rkif::addon
