#include "addon/arguments.h"

#include <cmath>
#include <sstream>

#include "addon/errors.h"

namespace rkif::addon {

namespace {

std::string found(const Napi::Value& value) {
  if (value.IsEmpty() || value.IsUndefined()) return "undefined";
  if (value.IsNull()) return "null";
  if (value.IsString()) return "the string \"" + value.As<Napi::String>().Utf8Value() + "\"";
  if (value.IsNumber() || value.IsBoolean()) return value.ToString().Utf8Value();
  if (value.IsFunction()) return "a function";
  if (value.IsArray()) return "an array";
  if (value.IsTypedArray()) return "another typed array";
  return "an object";
}

template <typename Array, typename T>
std::vector<T> typed(const Argument& argument, napi_typedarray_type type, const char* expected) {
  if (!argument.value.IsTypedArray() || argument.value.As<Napi::TypedArray>().TypedArrayType() != type)
    argument.refuse(expected);
  Array array = argument.value.As<Array>();
  return std::vector<T>(array.Data(), array.Data() + array.ElementLength());
}

}  // namespace

Argument argument(const Napi::CallbackInfo& info, size_t index, const char* name) { return {name, info[index]}; }

void Argument::refuse(const std::string& expected) const {
  throw invalid_argument(env(), name + " is " + found(value) + ", expected " + expected);
}

Argument Argument::operator[](const char* key) const { return {name + "." + key, object().Get(key)}; }

Napi::Object Argument::object() const {
  if (value.IsEmpty() || !value.IsObject()) refuse("an object");
  return value.As<Napi::Object>();
}

double Argument::number() const {
  if (value.IsEmpty() || !value.IsNumber()) refuse("a number");
  double x = value.As<Napi::Number>().DoubleValue();
  if (!std::isfinite(x)) refuse("a finite number");
  return x;
}

double Argument::rate() const {
  double x = number();
  if (x < 0 || x >= 1) refuse("a rate from 0 to below 1");
  return x;
}

int64_t Argument::integer(int64_t low, int64_t high) const {
  double x = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  if (!(std::floor(x) == x) || !(x >= static_cast<double>(low)) || !(x <= static_cast<double>(high))) {
    std::ostringstream expected;
    if (high == kMaxSafeInteger)
      expected << "an integer of at least " << low;
    else
      expected << "an integer from " << low << " to " << high;
    refuse(expected.str());
  }
  return static_cast<int64_t>(x);
}

bool Argument::boolean() const {
  if (value.IsEmpty() || !value.IsBoolean()) refuse("true or false");
  return value.As<Napi::Boolean>().Value();
}

std::string Argument::string() const {
  if (value.IsEmpty() || !value.IsString()) refuse("a string");
  return value.As<Napi::String>().Utf8Value();
}

std::vector<std::string> Argument::strings() const {
  if (value.IsEmpty() || !value.IsArray()) refuse("an array of strings");
  Napi::Array array = value.As<Napi::Array>();
  std::vector<std::string> result;
  for (uint32_t i = 0; i < array.Length(); ++i)
    result.push_back(Argument{name + "[" + std::to_string(i) + "]", array.Get(i)}.string());
  return result;
}

std::vector<int64_t> Argument::integers(int64_t low) const {
  if (value.IsEmpty() || !value.IsArray()) refuse("an array of integers");
  Napi::Array array = value.As<Napi::Array>();
  std::vector<int64_t> result;
  for (uint32_t i = 0; i < array.Length(); ++i)
    result.push_back(Argument{name + "[" + std::to_string(i) + "]", array.Get(i)}.integer(low));
  return result;
}

std::vector<Argument> Argument::elements() const {
  if (value.IsEmpty() || !value.IsArray()) refuse("an array");
  Napi::Array array = value.As<Napi::Array>();
  std::vector<Argument> result;
  for (uint32_t i = 0; i < array.Length(); ++i) result.push_back({name + "[" + std::to_string(i) + "]", array.Get(i)});
  return result;
}

std::vector<double> Argument::numbers() const {
  if (value.IsEmpty() || !value.IsArray()) refuse("an array of numbers");
  Napi::Array array = value.As<Napi::Array>();
  std::vector<double> result;
  for (uint32_t i = 0; i < array.Length(); ++i)
    result.push_back(Argument{name + "[" + std::to_string(i) + "]", array.Get(i)}.number());
  return result;
}

std::vector<int32_t> Argument::int32s() const {
  return typed<Napi::Int32Array, int32_t>(*this, napi_int32_array, "an Int32Array");
}

std::vector<uint32_t> Argument::uint32s() const {
  return typed<Napi::Uint32Array, uint32_t>(*this, napi_uint32_array, "a Uint32Array");
}

Napi::Float32Array Argument::float32s() const {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float32_array)
    refuse("a Float32Array");
  return value.As<Napi::Float32Array>();
}

}  // namespace rkif::addon
