#include "addon/operations.h"

#include <cmath>
#include <initializer_list>
#include <limits>
#include <optional>

#include "addon/mask.h"
#include "addon/step_reports.h"
#include "addon/vector.h"
#include "models/profile.h"

namespace rkif::addon {

namespace {

using VectorPtr = std::shared_ptr<VectorState>;
using MaskPtr = std::shared_ptr<MaskState>;

double fraction(const Argument& argument) {
  double x = argument.number();
  if (x < 0 || x > 1) argument.refuse("a number from 0 to 1");
  return x;
}

double not_negative(const Argument& argument) {
  double x = argument.number();
  if (x < 0) argument.refuse("a number of at least 0");
  return x;
}

// Decay of an optimizer's moment: at 1 its bias correction would divide by zero.
double decay(const Argument& argument) {
  double x = argument.number();
  if (x < 0 || x >= 1) argument.refuse("a number from 0 to below 1");
  return x;
}

// A vector and the argument that named it.
struct Named {
  Argument argument;
  VectorPtr vector;
};

// One pass writes and reads all of these element by element: one vector in two roles would be neither.
void refuse_alias(const Named& written, std::initializer_list<Named> others) {
  for (const Named& other : others)
    if (other.vector == written.vector)
      throw invalid_argument(written.argument.env(), written.argument.name + " is the same vector as " +
                                                         other.argument.name + ", expected another one");
}

struct ImportanceArguments {
  VectorPtr importance;
  VectorPtr uncertainty;
  MaskPtr mask;
  ImportanceDecay decay;

  ImportanceArguments(const Argument& into, const Argument& options, const VectorState& weights)
      : importance(VectorHandle::like(into["importance"], weights)),
        uncertainty(VectorHandle::like(into["uncertainty"], weights)),
        decay(fraction(options["importanceDecay"]), fraction(options["uncertaintyDecay"])) {
    Argument bits = options["mask"];
    if (!bits.missing()) mask = MaskHandle::like(bits, weights);
    refuse_alias({into["importance"], importance}, {{into["uncertainty"], uncertainty}});
  }
  // Neither average may be one of these.
  void refuse_aliases(const Argument& into, std::initializer_list<Named> others) const {
    refuse_alias({into["importance"], importance}, others);
    refuse_alias({into["uncertainty"], uncertainty}, others);
  }
  const uint8_t* mask_data() const { return mask ? mask->data() : nullptr; }
};

struct FusionArguments {
  Argument argument;
  VectorPtr parameters, start, tau_in, tau_out;
  explicit FusionArguments(const Argument& vectors)
      : argument(vectors),
        parameters(VectorHandle::from(vectors["parameters"])),
        start(VectorHandle::like(vectors["start"], *parameters)),
        tau_in(VectorHandle::like(vectors["tauIn"], *parameters)),
        tau_out(VectorHandle::like(vectors["tauOut"], *parameters)) {
    refuse_alias({vectors["parameters"], parameters}, {{vectors["tauIn"], tau_in}, {vectors["tauOut"], tau_out}});
  }
};

WeightPair weight_pair(const Argument& argument) {
  std::vector<double> pair = argument.numbers();
  if (pair.size() != 2) argument.refuse("a pair [weight of tauIn, weight of tauOut]");
  return {static_cast<float>(pair[0]), static_cast<float>(pair[1])};
}

Napi::Value boolean_report(Napi::Env env, const char* key, bool value) {
  Napi::Object report = Napi::Object::New(env);
  report.Set(key, value);
  return report;
}

}  // namespace

Napi::Value create_vector(const Napi::CallbackInfo& info) {
  Environment& environment = Environment::of(info.Env());
  const int64_t length = argument(info, 0, "createVector: length").integer(0);
  Argument beside = argument(info, 1, "createVector: like");
  auto state = make_vector(environment, length, beside.missing() ? at::kCPU : VectorHandle::from(beside)->device);
  environment.enqueue([state] { state->tensor.zero_(); });
  return VectorHandle::create(info.Env(), state);
}

Napi::Value update_importance(const Napi::CallbackInfo& info) {
  Argument averages = argument(info, 0, "updateImportance: into");
  Argument values = argument(info, 1, "updateImportance: weights");
  Argument slopes = argument(info, 2, "updateImportance: gradients");
  auto weights = VectorHandle::from(values);
  auto gradients = VectorHandle::like(slopes, *weights);
  ImportanceArguments into(averages, argument(info, 3, "updateImportance: options"), *weights);
  into.refuse_aliases(averages, {{values, weights}, {slopes, gradients}});
  Environment::of(info.Env()).enqueue([=] {
    weights->kernels().update_importance(weights->length, weights->data(), gradients->data(), into.mask_data(),
                                         into.decay, into.importance->data(), into.uncertainty->data());
  });
  return info.Env().Undefined();
}

Napi::Value score(const Napi::CallbackInfo& info) {
  Environment& environment = Environment::of(info.Env());
  Argument of = argument(info, 0, "score: of");
  auto importance = VectorHandle::from(of["importance"]);
  auto uncertainty = VectorHandle::like(of["uncertainty"], *importance);
  auto result = make_vector(environment, importance->length, importance->device);
  environment.enqueue(
      [=] { result->kernels().product(result->length, importance->data(), uncertainty->data(), result->data()); });
  return VectorHandle::create(info.Env(), result);
}

Napi::Value quantiles(const Napi::CallbackInfo& info) {
  auto values = VectorHandle::from(argument(info, 0, "quantiles: values"));
  Argument list = argument(info, 1, "quantiles: at");
  std::vector<double> at = list.numbers();
  for (double q : at)
    if (q < 0 || q > 1) list.refuse("numbers from 0 to 1");
  if (values->length == 0)
    throw invalid_argument(info.Env(), "quantiles: values is empty, expected at least one element");
  return Environment::of(info.Env())
      .promise(
          info.Env(),
          [=] {
            const at::Tensor room = room_beside<double>(values->tensor, static_cast<int64_t>(at.size()));
            values->kernels().quantiles(values->length, values->data(), at, values_in<double>(room));
            const at::Tensor here = on_host(room);
            const double* found = values_in<double>(here);
            return std::vector<double>(found, found + at.size());
          },
          [](Napi::Env env, const std::vector<double>& result) -> Napi::Value {
            auto array = Napi::Float64Array::New(env, result.size());
            std::copy(result.begin(), result.end(), array.Data());
            return array;
          });
}

Napi::Value fuse(const Napi::CallbackInfo& info) {
  FusionArguments v(argument(info, 0, "fuse: vectors"));
  Argument masks = argument(info, 1, "fuse: masks"), pairs = argument(info, 2, "fuse: table");
  MaskPtr in = MaskHandle::like(masks["in"], *v.parameters);
  MaskPtr out = MaskHandle::like(masks["out"], *v.parameters);
  FusionTable table = {weight_pair(pairs["neither"]), weight_pair(pairs["onlyIn"]), weight_pair(pairs["onlyOut"]),
                       weight_pair(pairs["both"])};
  return Environment::of(info.Env())
      .promise(
          info.Env(),
          [=] {
            const at::Tensor room = room_beside<FusionCounts>(v.parameters->tensor, 1);
            v.parameters->kernels().fuse(v.parameters->length, v.start->data(), v.tau_in->data(), v.tau_out->data(),
                                         in->for_fusion(), out->for_fusion(), table, v.parameters->data(),
                                         values_in<FusionCounts>(room)->data());
            return read_value<FusionCounts>(room);
          },
          [](Napi::Env env, const FusionCounts& counts) -> Napi::Value {
            Napi::Object report = Napi::Object::New(env);
            const bool fused = counts[0] >= 0;
            report.Set("fused", fused);
            const char* names[] = {"neither", "onlyIn", "onlyOut", "both"};
            for (int i = 0; i < 4; ++i) report.Set(names[i], static_cast<double>(fused ? counts[i] : 0));
            return report;
          });
}

Napi::Value fuse_adaptive(const Napi::CallbackInfo& info) {
  FusionArguments v(argument(info, 0, "fuseAdaptive: vectors"));
  int64_t length = v.parameters->length;
  Argument scores = argument(info, 1, "fuseAdaptive: scores");
  auto in = VectorHandle::like(scores["in"], *v.parameters);
  auto out = VectorHandle::like(scores["out"], *v.parameters);
  Argument temperature_argument = argument(info, 2, "fuseAdaptive: temperature");
  auto temperature = static_cast<float>(temperature_argument.number());
  if (!(temperature > 0) || std::isinf(temperature)) temperature_argument.refuse("a 32-bit number above 0");
  Argument weights = argument(info, 3, "fuseAdaptive: weights");
  VectorPtr weight_in, weight_out;
  if (!weights.missing()) {
    weight_in = VectorHandle::like(weights["in"], *v.parameters);
    weight_out = VectorHandle::like(weights["out"], *v.parameters);
    const Argument& of = v.argument;
    const std::initializer_list<Named> others = {
        {of["parameters"], v.parameters}, {of["start"], v.start}, {of["tauIn"], v.tau_in}, {of["tauOut"], v.tau_out}};
    refuse_alias({weights["in"], weight_in}, others);
    refuse_alias({weights["out"], weight_out}, others);
    refuse_alias({weights["in"], weight_in}, {{weights["out"], weight_out}});
  }
  return Environment::of(info.Env())
      .promise(
          info.Env(),
          [=] {
            const at::Tensor fused = room_beside<int32_t>(v.parameters->tensor, 1);
            v.parameters->kernels().fuse_adaptive(length, v.start->data(), v.tau_in->data(), v.tau_out->data(),
                                                  in->data(), out->data(), temperature, v.parameters->data(),
                                                  weight_in ? weight_in->data() : nullptr,
                                                  weight_out ? weight_out->data() : nullptr, values_in<int32_t>(fused));
            return read_value<int32_t>(fused) != 0;
          },
          [](Napi::Env env, bool fused) { return boolean_report(env, "fused", fused); });
}

Napi::Value adamw_step(const Napi::CallbackInfo& info) {
  Argument vectors = argument(info, 0, "adamwStep: vectors"), options = argument(info, 1, "adamwStep: options");
  auto parameters = VectorHandle::from(vectors["parameters"]);
  int64_t length = parameters->length;
  auto gradients = VectorHandle::like(vectors["gradients"], *parameters);
  auto m = VectorHandle::like(vectors["m"], *parameters);
  auto v = VectorHandle::like(vectors["v"], *parameters);
  const std::initializer_list<Named> all = {
      {vectors["parameters"], parameters}, {vectors["gradients"], gradients}, {vectors["m"], m}, {vectors["v"], v}};
  for (auto one = all.begin(); one != all.end(); ++one)
    for (auto other = one + 1; other != all.end(); ++other) refuse_alias(*one, {*other});
  AdamW adamw{not_negative(options["learningRate"]),
              decay(options["beta1"]),
              decay(options["beta2"]),
              not_negative(options["epsilon"]),
              not_negative(options["weightDecay"]),
              options["update"].integer(1)};
  std::optional<double> max_norm;
  Argument most = options["maxGradNorm"];
  if (!most.value.IsNull()) max_norm = most.number();
  if (max_norm && !(*max_norm > 0)) most.refuse("a number above 0, or null");

  std::optional<ImportanceArguments> averages;
  bool after = false;
  Argument importance = options["importance"];
  if (!importance.missing()) {
    averages.emplace(importance, importance, *parameters);
    averages->refuse_aliases(importance, all);
    std::string reads = importance["reads"].string();
    if (reads != "before" && reads != "after") importance["reads"].refuse("\"before\" or \"after\"");
    after = reads == "after";
  }

  const auto step = [=](StepReport* report, const StepReport* last) {
    NamedWork work("rkif::adamw");
    const Kernels& kernels = parameters->kernels();
    kernels.norm(length, gradients->data(), &report->gradient);
    ImportanceUpdate update;
    if (averages)
      update = {averages->importance->data(), averages->uncertainty->data(), averages->mask_data(), averages->decay,
                after};
    kernels.adamw_step(length, parameters->data(), gradients->data(), m->data(), v->data(),
                       max_norm.value_or(std::numeric_limits<double>::infinity()), adamw, averages ? &update : nullptr,
                       last, report);
  };
  Environment& environment = Environment::of(info.Env());
  Argument place = options["into"];
  if (place.missing())
    return environment.promise(
        info.Env(),
        [=] {
          const at::Tensor room = room_beside<StepReport>(parameters->tensor, 1).zero_();
          step(values_in<StepReport>(room), nullptr);
          return read_value<StepReport>(room);
        },
        to_object);

  const StepSlot into = StepReportsHandle::slot(place, parameters->device);
  std::optional<int64_t> last;
  if (!place["after"].missing()) {
    last = place["after"].integer(0, into.reports->capacity - 1);
    if (*last == into.index) place["after"].refuse("the index of an earlier step");
  }
  environment.enqueue([=] { step(into.reports->report(into.index), last ? into.reports->report(*last) : nullptr); });
  return info.Env().Undefined();
}

}  // namespace rkif::addon
