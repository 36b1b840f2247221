#include "addon/profile.h"

#include "addon/environment.h"
#include "models/profile.h"

namespace rkif::addon {

Napi::Value start_profile(const Napi::CallbackInfo& info) {
  Environment::of(info.Env()).enqueue([] { rkif::start_profile(); });
  return info.Env().Undefined();
}

Napi::Value end_profile(const Napi::CallbackInfo& info) {
  return Environment::of(info.Env())
      .promise(
          info.Env(), [] { return rkif::end_profile(); },
          [](Napi::Env env, const std::vector<OperatorTime>& operators) -> Napi::Value {
            Napi::Array list = Napi::Array::New(env, operators.size());
            for (uint32_t i = 0; i < operators.size(); ++i) {
              Napi::Object one = Napi::Object::New(env);
              one.Set("name", operators[i].name);
              one.Set("seconds", operators[i].seconds);
              one.Set("calls", static_cast<double>(operators[i].calls));
              list.Set(i, one);
            }
            return list;
          });
}

}  // namespace rkif::addon
