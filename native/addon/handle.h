// What the JS classes share: an object that holds native state until dispose() or garbage collection, recognised by a
// type tag, so that a foreign or disposed object is an error and never a crash.
#pragma once
#include <napi.h>

#include <memory>
#include <string>
#include <utility>

#include "addon/arguments.h"
#include "addon/environment.h"
#include "addon/errors.h"

namespace rkif::addon {

// "a Vector", "an AbortFlag".
inline std::string with_article(const std::string& noun) {
  return (std::string("AEIOU").find(noun[0]) == std::string::npos ? "a " : "an ") + noun;
}

// Self: the class; State: what it holds. Self provides `static const napi_type_tag kTag`, `static constexpr const char*
// kName`, `static Napi::FunctionReference& constructor(Environment&)`.
template <typename Self, typename State>
class Handle : public Napi::ObjectWrap<Self> {
 public:
  // Only native code makes handles: JS has no External to pass.
  explicit Handle(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Self>(info) {
    if (info.Length() != 1 || !info[0].IsExternal())
      throw invalid_argument(info.Env(),
                             std::string(Self::kName) + " cannot be constructed: use the addon's functions");
    state_ = std::move(*info[0].As<Napi::External<std::shared_ptr<State>>>().Data());
    environment_ = &Environment::of(info.Env());
    closing_ = environment_->closing;
    info.This().As<Napi::Object>().TypeTag(&Self::kTag);
  }

  // Lets the compute thread release what this held, after the work already enqueued.
  ~Handle() override { release(); }

  // Hides ObjectWrap's, through which every method and accessor finds its object. The engine checks the receiver of
  // methods only: without the tag an accessor taken from the prototype would read any other handle as a Self.
  static Self* Unwrap(Napi::Object object) {
    if (!object.CheckTypeTag(&Self::kTag))
      throw invalid_argument(
          object.Env(), "this is not " + with_article(Self::kName) + ": its members work on the handle they belong to");
    return Napi::ObjectWrap<Self>::Unwrap(object);
  }

  static Napi::Object create(Napi::Env env, std::shared_ptr<State> state) {
    auto external = Napi::External<std::shared_ptr<State>>::New(env, &state);
    return Self::constructor(Environment::of(env)).New({external});
  }

  // The state behind an argument.
  static std::shared_ptr<State> from(const Argument& argument) {
    if (!argument.value.IsObject() || !argument.value.template As<Napi::Object>().CheckTypeTag(&Self::kTag))
      argument.refuse(with_article(Self::kName));
    Self* self = Unwrap(argument.value.template As<Napi::Object>());
    if (!self->state_) throw disposed(argument.env(), argument.name);
    return self->state_;
  }

  Napi::Value get_disposed(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), !state_); }

 protected:
  std::shared_ptr<State> state(Napi::Env env) const {
    if (!state_) throw disposed(env, std::string("this ") + Self::kName);
    return state_;
  }

  void release() {
    if (!state_) return;
    // Finalizers may run after the environment's own data is gone; `closing_` outlives it.
    // Moved, not copied: freeing gigabytes is the compute thread's work even where that is idle.
    std::shared_ptr<State> last = std::move(state_);
    if (!closing_->load()) environment_->enqueue([state = std::move(last)]() mutable { state.reset(); });
  }

  std::shared_ptr<State> state_;

 private:
  Environment* environment_ = nullptr;
  std::shared_ptr<std::atomic<bool>> closing_;
};

// A JS array made now, filled on the compute thread, and given to the promise: no copy on the event loop.
template <typename Array>
struct Target {
  Array array;
  std::shared_ptr<Napi::ObjectReference> reference;
  typename std::remove_pointer_t<decltype(std::declval<Array>().Data())>* data;

  Target(Napi::Env env, size_t length)
      : array(Array::New(env, length)),
        reference(std::make_shared<Napi::ObjectReference>(Napi::Persistent(array.template As<Napi::Object>()))),
        data(array.Data()) {}
  // For Environment::promise.
  auto convert() const {
    return [reference = reference](Napi::Env, auto&) -> Napi::Value { return reference->Value(); };
  }
};

// Result type of work that yields nothing.
struct Done {};
inline Napi::Value to_undefined(Napi::Env env, Done&) { return env.Undefined(); }

}  // namespace rkif::addon
