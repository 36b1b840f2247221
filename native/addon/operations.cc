#include "addon/operations.h"

#include <cmath>
#include <limits>
#include <optional>

#include "addon/mask.h"
#include "addon/vector.h"
#include "kernels/adamw.h"
#include "kernels/fuse.h"
#include "kernels/importance.h"
#include "kernels/select.h"
#include "kernels/vector_ops.h"

namespace rkif::addon {

namespace {

using VectorPtr = std::shared_ptr<VectorState>;
using MaskPtr = std::shared_ptr<MaskState>;

double fraction(const Argument& argument) {
  double x = argument.number();
  if (x < 0 || x > 1) argument.refuse("a number from 0 to 1");
  return x;
}

struct ImportanceArguments {
  VectorPtr importance;
  VectorPtr uncertainty;
  MaskPtr mask;
  ImportanceDecay decay;

  ImportanceArguments(const Argument& into, const Argument& options, int64_t length)
      : importance(VectorHandle::of_length(into["importance"], length)),
        uncertainty(VectorHandle::of_length(into["uncertainty"], length)),
        decay(fraction(options["importanceDecay"]), fraction(options["uncertaintyDecay"])) {
    Argument bits = options["mask"];
    if (!bits.missing()) mask = MaskHandle::of_length(bits, length);
  }
  const uint8_t* mask_data() const { return mask ? mask->data() : nullptr; }
};

struct FusionArguments {
  VectorPtr parameters, start, tau_in, tau_out;
  explicit FusionArguments(const Argument& vectors)
      : parameters(VectorHandle::from(vectors["parameters"])),
        start(VectorHandle::of_length(vectors["start"], parameters->length)),
        tau_in(VectorHandle::of_length(vectors["tauIn"], parameters->length)),
        tau_out(VectorHandle::of_length(vectors["tauOut"], parameters->length)) {
    for (const auto& [vector, name] : {std::pair{tau_in, "tauIn"}, std::pair{tau_out, "tauOut"}})
      if (vector == parameters)
        throw invalid_argument(vectors.env(),
                               vectors.name + "." + name + " is the vector that is written, expected another one");
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
  auto state = make_vector(environment, argument(info, 0, "createVector: length").integer(0));
  environment.enqueue([state] { state->tensor.zero_(); });
  return VectorHandle::create(info.Env(), state);
}

Napi::Value update_importance(const Napi::CallbackInfo& info) {
  auto weights = VectorHandle::from(argument(info, 1, "updateImportance: weights"));
  auto gradients = VectorHandle::of_length(argument(info, 2, "updateImportance: gradients"), weights->length);
  ImportanceArguments into(argument(info, 0, "updateImportance: into"), argument(info, 3, "updateImportance: options"),
                           weights->length);
  Environment::of(info.Env()).enqueue([=] {
    rkif::update_importance(weights->length, weights->data(), gradients->data(), into.mask_data(), into.decay,
                            into.importance->data(), into.uncertainty->data());
  });
  return info.Env().Undefined();
}

Napi::Value score(const Napi::CallbackInfo& info) {
  Environment& environment = Environment::of(info.Env());
  Argument of = argument(info, 0, "score: of");
  auto importance = VectorHandle::from(of["importance"]);
  auto uncertainty = VectorHandle::of_length(of["uncertainty"], importance->length);
  auto result = make_vector(environment, importance->length);
  environment.enqueue([=] { product(result->length, importance->data(), uncertainty->data(), result->data()); });
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
          info.Env(), [=] { return rkif::quantiles(values->length, values->data(), at); },
          [](Napi::Env env, const std::vector<double>& result) -> Napi::Value {
            auto array = Napi::Float64Array::New(env, result.size());
            std::copy(result.begin(), result.end(), array.Data());
            return array;
          });
}

Napi::Value fuse(const Napi::CallbackInfo& info) {
  FusionArguments v(argument(info, 0, "fuse: vectors"));
  Argument masks = argument(info, 1, "fuse: masks"), pairs = argument(info, 2, "fuse: table");
  MaskPtr in = MaskHandle::of_length(masks["in"], v.parameters->length);
  MaskPtr out = MaskHandle::of_length(masks["out"], v.parameters->length);
  FusionTable table = {weight_pair(pairs["neither"]), weight_pair(pairs["onlyIn"]), weight_pair(pairs["onlyOut"]),
                       weight_pair(pairs["both"])};
  return Environment::of(info.Env())
      .promise(
          info.Env(),
          [=]() -> std::optional<FusionCounts> {
            for (const MaskPtr& mask : {in, out})
              for (float threshold : mask->thresholds)
                if (std::isnan(threshold)) {
                  v.parameters->tensor.copy_(v.start->tensor);
                  return std::nullopt;
                }
            return rkif::fuse(v.parameters->length, v.start->data(), v.tau_in->data(), v.tau_out->data(), in->data(),
                              out->data(), table, v.parameters->data());
          },
          [](Napi::Env env, const std::optional<FusionCounts>& counts) -> Napi::Value {
            Napi::Object report = Napi::Object::New(env);
            report.Set("fused", counts.has_value());
            const char* names[] = {"neither", "onlyIn", "onlyOut", "both"};
            for (int i = 0; i < 4; ++i) report.Set(names[i], static_cast<double>(counts ? (*counts)[i] : 0));
            return report;
          });
}

Napi::Value fuse_adaptive(const Napi::CallbackInfo& info) {
  FusionArguments v(argument(info, 0, "fuseAdaptive: vectors"));
  int64_t length = v.parameters->length;
  Argument scores = argument(info, 1, "fuseAdaptive: scores");
  auto in = VectorHandle::of_length(scores["in"], length);
  auto out = VectorHandle::of_length(scores["out"], length);
  Argument temperature_argument = argument(info, 2, "fuseAdaptive: temperature");
  double temperature = temperature_argument.number();
  if (!(temperature > 0)) temperature_argument.refuse("a number above 0");
  Argument weights = argument(info, 3, "fuseAdaptive: weights");
  VectorPtr weight_in, weight_out;
  if (!weights.missing()) {
    weight_in = VectorHandle::of_length(weights["in"], length);
    weight_out = VectorHandle::of_length(weights["out"], length);
  }
  return Environment::of(info.Env())
      .promise(
          info.Env(),
          [=] {
            return rkif::fuse_adaptive(length, v.start->data(), v.tau_in->data(), v.tau_out->data(), in->data(),
                                       out->data(), static_cast<float>(temperature), v.parameters->data(),
                                       weight_in ? weight_in->data() : nullptr,
                                       weight_out ? weight_out->data() : nullptr);
          },
          [](Napi::Env env, bool fused) { return boolean_report(env, "fused", fused); });
}

Napi::Value adamw_step(const Napi::CallbackInfo& info) {
  Argument vectors = argument(info, 0, "adamwStep: vectors"), options = argument(info, 1, "adamwStep: options");
  auto parameters = VectorHandle::from(vectors["parameters"]);
  int64_t length = parameters->length;
  auto gradients = VectorHandle::of_length(vectors["gradients"], length);
  auto m = VectorHandle::of_length(vectors["m"], length);
  auto v = VectorHandle::of_length(vectors["v"], length);
  AdamW adamw{options["learningRate"].number(), fraction(options["beta1"]),      fraction(options["beta2"]),
              options["epsilon"].number(),      options["weightDecay"].number(), options["update"].integer(1)};
  std::optional<double> max_norm;
  if (!options["maxGradNorm"].value.IsNull()) max_norm = options["maxGradNorm"].number();

  std::optional<ImportanceArguments> into;
  bool after = false;
  Argument importance = options["importance"];
  if (!importance.missing()) {
    into.emplace(importance, importance, length);
    std::string reads = importance["reads"].string();
    if (reads != "before" && reads != "after") importance["reads"].refuse("\"before\" or \"after\"");
    after = reads == "after";
  }
  return Environment::of(info.Env())
      .promise(
          info.Env(),
          [=] {
            Norm gradient = rkif::norm(length, gradients->data());
            if (gradient.non_finite > 0) return gradient;
            float factor = max_norm ? clip_factor(gradient.norm, *max_norm) : 1.0f;
            ImportanceUpdate update;
            if (into)
              update = {into->importance->data(), into->uncertainty->data(), into->mask_data(), into->decay, after};
            rkif::adamw_step(length, parameters->data(), gradients->data(), m->data(), v->data(), factor, adamw,
                             into ? &update : nullptr);
            return gradient;
          },
          [](Napi::Env env, const Norm& gradient) -> Napi::Value {
            Napi::Object report = Napi::Object::New(env);
            bool finite = gradient.non_finite == 0;
            report.Set("gradNorm", finite ? gradient.norm : std::numeric_limits<double>::quiet_NaN());
            report.Set("nonFinite", static_cast<double>(gradient.non_finite));
            report.Set("applied", finite);
            return report;
          });
}

}  // namespace rkif::addon
