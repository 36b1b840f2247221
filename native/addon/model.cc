#include "addon/model.h"

#include <cstring>
#include <optional>

#include "addon/abort_flag.h"
#include "addon/batches.h"
#include "addon/step_reports.h"

namespace rkif::addon {

const napi_type_tag ModelHandle::kTag = {0x7a1d0f6e52b84c10, 0x9c3be24d81f05a05};

void ModelHandle::define(Napi::Env env) {
  Napi::Function cls = DefineClass(
      env, kName,
      {InstanceAccessor<&ModelHandle::layout>("layout"), InstanceAccessor<&ModelHandle::parameters>("parameters"),
       InstanceAccessor<&ModelHandle::gradients>("gradients"),
       InstanceAccessor("disposed", &ModelHandle::get_disposed, nullptr),
       InstanceMethod<&ModelHandle::accumulate>("accumulate"), InstanceMethod<&ModelHandle::loss>("loss"),
       InstanceMethod<&ModelHandle::logits>("logits"), InstanceMethod<&ModelHandle::generate>("generate"),
       InstanceMethod<&ModelHandle::score_options>("scoreOptions"), InstanceMethod<&ModelHandle::embed>("embed"),
       InstanceAccessor<&ModelHandle::frozen_adapters>("frozenAdapters"),
       InstanceMethod<&ModelHandle::freeze_adapter>("freezeAdapter"),
       InstanceMethod<&ModelHandle::copy_frozen>("copyFrozen"), InstanceMethod<&ModelHandle::set_frozen>("setFrozen"),
       InstanceMethod<&ModelHandle::add_orthogonality_gradient>("addOrthogonalityGradient"),
       InstanceMethod<&ModelHandle::add_overlap_gradient>("addOverlapGradient"),
       InstanceMethod<&ModelHandle::merge_adapter>("mergeAdapter"),
       InstanceMethod<&ModelHandle::unmerge_adapter>("unmergeAdapter"),
       InstanceMethod<&ModelHandle::dispose>("dispose")});
  Environment::of(env).model_class = Napi::Persistent(cls);
}

ModelHandle::ModelHandle(const Napi::CallbackInfo& info) : Handle(info) {
  auto self = state(info.Env());
  parameters_ = Napi::Persistent(VectorHandle::create(info.Env(), self->parameters));
  gradients_ = Napi::Persistent(VectorHandle::create(info.Env(), self->gradients));
}

Napi::Value ModelHandle::layout(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const auto& layout = state(env)->model->layout();
  Napi::Array array = Napi::Array::New(env, layout.size());
  for (uint32_t i = 0; i < layout.size(); ++i) {
    Napi::Object entry = Napi::Object::New(env);
    Napi::Array shape = Napi::Array::New(env, layout[i].shape.size());
    for (uint32_t d = 0; d < layout[i].shape.size(); ++d) shape.Set(d, static_cast<double>(layout[i].shape[d]));
    entry.Set("name", layout[i].name);
    entry.Set("shape", shape);
    entry.Set("offset", static_cast<double>(layout[i].offset));
    array.Set(i, entry);
  }
  return array;
}

Napi::Value ModelHandle::parameters(const Napi::CallbackInfo& info) {
  state(info.Env());
  return parameters_.Value();
}

Napi::Value ModelHandle::gradients(const Napi::CallbackInfo& info) {
  state(info.Env());
  return gradients_.Value();
}

namespace {

BatchLimits limits(const ModelState& state) { return {state.vocab_size, state.encoder}; }

void copy_to(float* data, const at::Tensor& values) {
  at::Tensor contiguous = on_host(values).contiguous();
  std::memcpy(data, contiguous.const_data_ptr<float>(), contiguous.numel() * sizeof(float));
}

Napi::Int32Array to_int32s(Napi::Env env, const std::vector<int32_t>& values) {
  auto array = Napi::Int32Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

}  // namespace

Napi::Value ModelHandle::accumulate(const Napi::CallbackInfo& info) {
  auto self = state(info.Env());
  auto batch = std::make_shared<Batch>(read_batch(argument(info, 0, "accumulate: batch"), limits(*self)));
  Argument given = argument(info, 1, "accumulate: options");
  AccumulateOptions options;
  options.divisor = given["divisor"].number();
  if (!(options.divisor > 0)) given["divisor"].refuse("a number above 0");
  options.loss_scale = given["lossScale"].number();
  Argument counters = given["dropout"];
  if (!counters.value.IsNull()) {
    options.dropout = true;
    auto counter = [&](const char* key) { return static_cast<uint32_t>(counters[key].integer(0, UINT32_MAX)); };
    options.counters = {static_cast<uint64_t>(counters["seed"].integer(0)), counter("task"), counter("loop"),
                        counter("step")};
  }
  options.abort = AbortHandle::optional(given["abort"]);
  std::shared_ptr<VectorState> sums;
  if (!given["outputSums"].missing()) {
    sums = VectorHandle::of_length(given["outputSums"], with_adapter(info.Env(), "accumulate: outputSums")->row_count(),
                                   self->parameters->device);
  }
  std::optional<StepSlot> into;
  if (!given["into"].missing()) into = StepReportsHandle::slot(given["into"], self->parameters->device);
  return Environment::of(info.Env())
      .promise(
          info.Env(),
          [=]() mutable {
            if (sums) options.output_sums = sums->tensor;
            if (into) options.report = into->reports->slot(into->index);
            return self->model->accumulate(*batch, options);
          },
          [told = !into](Napi::Env env, const LossReport& report) -> Napi::Value {
            Napi::Object object = Napi::Object::New(env);
            if (told) object.Set("lossSum", report.loss_sum);
            object.Set("labelTokens", static_cast<double>(report.label_tokens));
            return object;
          });
}

namespace {
Napi::Value to_float64s(Napi::Env env, const std::vector<double>& values) {
  auto array = Napi::Float64Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}
}  // namespace

Napi::Value ModelHandle::loss(const Napi::CallbackInfo& info) {
  auto self = state(info.Env());
  auto batch = std::make_shared<Batch>(read_batch(argument(info, 0, "loss: batch"), limits(*self)));
  AbortFlag abort = AbortHandle::optional(argument(info, 1, "loss: abort"));
  return Environment::of(info.Env()).promise(info.Env(), [=] { return self->model->loss(*batch, abort); }, to_float64s);
}

Napi::Value ModelHandle::logits(const Napi::CallbackInfo& info) {
  auto self = state(info.Env());
  auto batch = std::make_shared<Batch>(read_batch(argument(info, 0, "logits: batch"), limits(*self)));
  const size_t columns = self->encoder ? batch->candidate_lengths.size() : static_cast<size_t>(self->vocab_size);
  Target<Napi::Float32Array> target(info.Env(), batch->labels.size() * columns);
  return Environment::of(info.Env())
      .promise(
          info.Env(),
          [self, batch, data = target.data] {
            copy_to(data, self->model->logits(*batch));
            return Done{};
          },
          target.convert());
}

namespace {

// A function that JS wants to have called during a call. It ends on JS's thread, with the call's promise.
using Listener = std::shared_ptr<Napi::FunctionReference>;

Listener listener(const Argument& given) {
  if (given.missing()) return nullptr;
  if (!given.value.IsFunction()) given.refuse("a function");
  return std::make_shared<Napi::FunctionReference>(Napi::Persistent(given.value.As<Napi::Function>()));
}

// For the compute thread, which refers to the listener weakly.
auto teller(Environment& environment, const Listener& listener) {
  return [&environment, weak = std::weak_ptr(listener)](std::vector<std::vector<int32_t>> told) {
    environment.post([weak, told = std::move(told)](Napi::Env env) {
      auto function = weak.lock();
      if (!function) return;
      std::vector<napi_value> arguments;
      for (const std::vector<int32_t>& values : told) arguments.push_back(to_int32s(env, values));
      function->Call(arguments);
    });
  };
}

}  // namespace

Napi::Value ModelHandle::generate(const Napi::CallbackInfo& info) {
  auto self = state(info.Env());
  Environment& environment = Environment::of(info.Env());
  Argument given = argument(info, 0, "generate: options");
  auto options = std::make_shared<GenerateOptions>(read_generate_options(given, self->vocab_size));
  const Listener on_tokens = listener(given["onTokens"]), on_ended = listener(given["onEnded"]);
  if (on_tokens) {
    options->on_tokens = [tell = teller(environment, on_tokens)](const std::vector<int32_t>& prompts,
                                                                 const std::vector<int32_t>& tokens) {
      tell({prompts, tokens});
    };
  }
  if (on_ended) {
    options->on_ended = [tell = teller(environment, on_ended)](const std::vector<int32_t>& prompts) {
      tell({prompts});
    };
  }
  return environment.promise(
      info.Env(), [=] { return self->model->generate(*options); },
      [on_tokens, on_ended](Napi::Env env, const std::vector<std::vector<int32_t>>& rows) -> Napi::Value {
        Napi::Array array = Napi::Array::New(env, rows.size());
        for (uint32_t i = 0; i < rows.size(); ++i) array.Set(i, to_int32s(env, rows[i]));
        return array;
      });
}

Napi::Value ModelHandle::score_options(const Napi::CallbackInfo& info) {
  auto self = state(info.Env());
  auto options =
      std::make_shared<ScoreOptions>(read_score_options(argument(info, 0, "scoreOptions: options"), self->vocab_size));
  return Environment::of(info.Env())
      .promise(info.Env(), [=] { return self->model->score_options(*options); }, to_float64s);
}

Napi::Value ModelHandle::embed(const Napi::CallbackInfo& info) {
  auto self = state(info.Env());
  Argument given = argument(info, 0, "embed: texts");
  auto texts = std::make_shared<PackedTexts>(read_texts(given, self->vocab_size));
  AbortFlag abort = AbortHandle::optional(given["abort"]);
  Environment& environment = Environment::of(info.Env());
  return environment.promise(
      info.Env(), [=] { return on_host(self->model->embed(texts->ids, texts->lengths, abort)).contiguous(); },
      [](Napi::Env env, const at::Tensor& vectors) -> Napi::Value {
        auto array = Napi::Float32Array::New(env, vectors.numel());
        copy_to(array.Data(), vectors);
        return array;
      });
}

void ModelHandle::dispose(const Napi::CallbackInfo&) {
  if (!state_) return;
  VectorHandle::end(parameters_.Value());
  VectorHandle::end(gradients_.Value());
  release();
}

}  // namespace rkif::addon
