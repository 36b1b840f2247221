// The families of models by the names JS calls them, each with its configuration.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "addon/arguments.h"
#include "models/model.h"

namespace rkif::addon {

struct Family {
  std::function<std::unique_ptr<Model>(const ModelOptions&, const Weights&)> make;
  std::function<std::vector<std::string>()> linear_modules;
  int64_t vocab_size;
  bool encoder = false;
};

// Of an object with `family` and `config`.
Family family_of(const Argument& model);

// Addon function.
Napi::Value linear_modules(const Napi::CallbackInfo& info);

}  // namespace rkif::addon
