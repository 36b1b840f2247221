#include "addon/environment.h"

#include "addon/compute_thread.h"

namespace rkif::addon {

namespace {
void check(napi_status status, const char* what) {
  if (status != napi_ok) throw std::runtime_error(std::string("Node-API: ") + what + " failed");
}
}  // namespace

Environment& Environment::create(Napi::Env env) {
  auto* environment = new Environment(env);
  env.SetInstanceData(environment);
  return *environment;
}

Environment::Environment(Napi::Env env) : env_(env) {
  Napi::String name = Napi::String::New(env, "recurrent-kif");
  check(napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this,
                                        &Environment::receive, &function_),
        "napi_create_threadsafe_function");
  // An idle addon must not keep the process alive; open promises do.
  check(napi_unref_threadsafe_function(env, function_), "napi_unref_threadsafe_function");
  ComputeThread::instance().add_owner();
  check(napi_add_async_cleanup_hook(env, &Environment::cleanup, this, nullptr), "napi_add_async_cleanup_hook");
}

void Environment::cleanup(napi_async_cleanup_hook_handle handle, void* data) {
  auto* environment = static_cast<Environment*>(data);
  environment->quit();
  ComputeThread::instance().remove_owner(environment);
  napi_release_threadsafe_function(environment->function_, napi_tsfn_abort);
  napi_remove_async_cleanup_hook(handle);
}

void Environment::quit() {
  closing->store(true);
  for (auto& weak : flags_)
    if (auto flag = weak.lock()) flag->store(true);
  ComputeThread::instance().drain(this);
}

std::shared_ptr<std::atomic<bool>> Environment::make_flag() {
  std::erase_if(flags_, [](const auto& weak) { return weak.expired(); });
  auto flag = std::make_shared<std::atomic<bool>>(false);
  flags_.push_back(flag);
  return flag;
}

std::exception_ptr Environment::take_error() {
  std::lock_guard lock(error_mutex_);
  return std::exchange(error_, nullptr);
}

void Environment::enqueue(std::function<void()> work) {
  ComputeThread::instance().enqueue(this, [this, work = std::move(work)]() mutable {
    try {
      work();
    } catch (...) {
      // The first error is the cause; later ones follow from it.
      std::lock_guard lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
    }
    work = nullptr;
  });
}

void Environment::start(std::shared_ptr<Settlement> settlement) {
  if (open_promises_++ == 0) napi_ref_threadsafe_function(env_, function_);
  ComputeThread::instance().enqueue(this, [this, settlement = std::move(settlement)]() mutable {
    settlement->error = take_error();
    if (!settlement->error) {
      try {
        settlement->run();
      } catch (...) {
        settlement->error = std::current_exception();
      }
    }
    // The last reference travels, so that the settlement ends on the environment's thread.
    send([this, settlement = std::move(settlement)](napi_env env) {
      if (env != nullptr) settle(env, *settlement);  // otherwise nobody awaits any more
    });
  });
}

void Environment::post(std::function<void(Napi::Env)> call) {
  send([call = std::move(call)](napi_env env) {
    if (env == nullptr) return;
    Napi::Env napi(env);
    Napi::HandleScope scope(napi);
    try {
      call(napi);
    } catch (const Napi::Error& error) {
      napi_fatal_exception(env, error.Value());
    } catch (...) {
      // A worker that is being terminated: see settle().
    }
  });
}

void Environment::send(Message message) {
  napi_call_threadsafe_function(function_, new Message(std::move(message)), napi_tsfn_nonblocking);
}

void Environment::receive(napi_env env, napi_value, void*, void* data) {
  std::unique_ptr<Message> message(static_cast<Message*>(data));
  (*message)(env);
}

void Environment::settle(napi_env env, Settlement& settlement) {
  Napi::Env napi(env);
  Napi::HandleScope scope(napi);
  if (--open_promises_ == 0) napi_unref_threadsafe_function(env, function_);
  try {
    try {
      if (settlement.error) {
        settlement.deferred.Reject(make_error(napi, describe(settlement.error)).Value());
      } else {
        settlement.deferred.Resolve(settlement.value(napi));
      }
    } catch (const Napi::Error& error) {
      settlement.deferred.Reject(error.Value());
    } catch (...) {
      settlement.deferred.Reject(make_error(napi, describe(std::current_exception())).Value());
    }
  } catch (...) {
    // A worker that is being terminated can neither resolve nor reject, and nothing may leave a callback of Node's.
  }
}

}  // namespace rkif::addon
