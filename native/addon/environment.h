// What belongs to one Node environment (the main thread or a worker): its classes, its way back from the compute
// thread, and the error that an enqueued operation left for the next await.
#pragma once
#include <napi.h>

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "addon/errors.h"

namespace rkif::addon {

// A promise under way: `run` on the compute thread, `value` and destruction on the environment's thread.
class Settlement {
 public:
  explicit Settlement(Napi::Env env) : deferred(Napi::Promise::Deferred::New(env)) {}
  virtual ~Settlement() = default;
  virtual void run() = 0;
  virtual Napi::Value value(Napi::Env env) = 0;

  Napi::Promise::Deferred deferred;
  std::exception_ptr error;
};

template <typename Work, typename Convert>
class TypedSettlement final : public Settlement {
 public:
  using Result = std::invoke_result_t<Work&>;
  TypedSettlement(Napi::Env env, Work work, Convert convert)
      : Settlement(env), work_(std::make_unique<Work>(std::move(work))), convert_(std::move(convert)) {}
  void run() override {
    // Released on the compute thread whatever happens: it holds tensors.
    std::unique_ptr<Work> work = std::move(work_);
    result_.emplace((*work)());
  }
  Napi::Value value(Napi::Env env) override { return convert_(env, *result_); }

 private:
  std::unique_ptr<Work> work_;
  Convert convert_;
  std::optional<Result> result_;
};

class Environment {
 public:
  // Made once per environment; owned by it as instance data.
  static Environment& create(Napi::Env env);
  static Environment& of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }
  explicit Environment(Napi::Env env);

  // Runs `work` on the compute thread. What it throws rejects the next promise.
  void enqueue(std::function<void()> work);

  // Runs `work` there and settles the promise with `convert(env, result)` here. `convert` may hold JS references.
  template <typename Work, typename Convert>
  Napi::Value promise(Napi::Env env, Work work, Convert convert) {
    auto settlement = std::make_shared<TypedSettlement<Work, Convert>>(env, std::move(work), std::move(convert));
    Napi::Value promise = settlement->deferred.Promise();
    start(std::move(settlement));
    return promise;
  }

  // From the compute thread: runs `call` on the environment's thread, after what was sent there before. An error that
  // it throws is an uncaught exception of the program. Dropped where the environment goes first.
  void post(std::function<void(Napi::Env)> call);

  // Set when the environment goes, so that long work ends at its next check.
  std::shared_ptr<std::atomic<bool>> closing = std::make_shared<std::atomic<bool>>(false);
  // On the process' "exit" event: Node runs no cleanup hooks on process.exit(), and libtorch's static objects must not
  // be destroyed under a running job.
  void quit();
  // A flag that JS can set, and that is set as well when the environment goes.
  std::shared_ptr<std::atomic<bool>> make_flag();

  Napi::FunctionReference vector_class;
  Napi::FunctionReference mask_class;
  Napi::FunctionReference model_class;
  Napi::FunctionReference file_class;
  Napi::FunctionReference abort_class;
  Napi::FunctionReference step_reports_class;

 private:
  // What the compute thread sends; called with a null environment where that is going.
  using Message = std::function<void(napi_env)>;
  static void receive(napi_env env, napi_value callback, void* context, void* data);
  void send(Message message);
  void settle(napi_env env, Settlement& settlement);
  static void cleanup(napi_async_cleanup_hook_handle handle, void* data);
  void start(std::shared_ptr<Settlement> settlement);
  std::exception_ptr take_error();

  napi_env env_;
  napi_threadsafe_function function_ = nullptr;
  int64_t open_promises_ = 0;
  std::vector<std::weak_ptr<std::atomic<bool>>> flags_;
  std::mutex error_mutex_;
  std::exception_ptr error_;
};

}  // namespace rkif::addon
