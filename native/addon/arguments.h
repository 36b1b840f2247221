// Reading and checking what JS passes. Every function throws a Napi::Error that names the argument, what was found and
// what was expected.
#pragma once
#include <napi.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rkif::addon {

// JS's Number.MAX_SAFE_INTEGER.
inline constexpr int64_t kMaxSafeInteger = 9007199254740991;

// "adamwStep: options.learningRate" and the value it stands for.
struct Argument {
  std::string name;
  Napi::Value value;

  Napi::Env env() const { return value.Env(); }
  bool missing() const { return value.IsEmpty() || value.IsUndefined(); }
  // A property of an object argument.
  Argument operator[](const char* key) const;

  Napi::Object object() const;
  double number() const;  // finite
  double rate() const;    // from 0 to below 1
  // Safe integer from `low` to `high`.
  int64_t integer(int64_t low, int64_t high = kMaxSafeInteger) const;
  bool boolean() const;
  std::string string() const;
  std::vector<Argument> elements() const;  // of an array
  std::vector<std::string> strings() const;
  std::vector<int64_t> integers(int64_t low) const;
  std::vector<double> numbers() const;
  std::vector<int32_t> int32s() const;  // Int32Array
  std::vector<uint32_t> uint32s() const;
  Napi::Float32Array float32s() const;

  // Throws INVALID_ARGUMENT: "<name> is <what was found>, expected <expected>".
  [[noreturn]] void refuse(const std::string& expected) const;
};

// Argument `index` of a call; missing ones are undefined.
Argument argument(const Napi::CallbackInfo& info, size_t index, const char* name);

}  // namespace rkif::addon
