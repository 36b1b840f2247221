// Whole models with the GPU's kernels on an emulated grid: the same losses and gradients as with the CPU's kernels,
// which are checked against transformers.
#include <functional>
#include <memory>

#include "cuda_test.h"
#include "kernels/cuda/cuda_kernels.h"
#include "models/device.h"
#include "models/generation.h"
#include "models_small_decoder.h"
#include "models_small_encoder.h"
#include "models_small_t5.h"
#include "models_training_checks.h"

using namespace rkif;
using namespace rkif::test;

namespace {

// For as long as it lives, what is on the CPU is computed by the GPU's kernels.
class Emulated {
 public:
  Emulated() { set_kernels(c10::kCPU, kernels_.get()); }
  Emulated(const Emulated&) = delete;
  ~Emulated() { set_kernels(c10::kCPU, nullptr); }

 private:
  std::unique_ptr<const Kernels> kernels_ = cuda::cuda_kernels(cuda_context);
};

// Dropout on: the masks are the same bits.
void check_model(const std::function<std::unique_ptr<Model>()>& make, const Batch& batch, double tolerance) {
  const Result expected = run(*make(), {batch}, with_dropout());
  CHECK(expected.report.label_tokens > 0);
  Emulated gpu;
  const Result found = run(*make(), {batch}, with_dropout());
  CHECK_NEAR(found.report.loss_sum, expected.report.loss_sum, tolerance * std::abs(expected.report.loss_sum));
  CHECK_NEAR(relative_difference(found.gradients, expected.gradients), 0, 10 * tolerance);
  // The same call, the same bits.
  const Result again = run(*make(), {batch}, with_dropout());
  CHECK(again.report.loss_sum == found.report.loss_sum && same_bits(again.gradients, found.gradients));
}

// A family with adapters and with all weights trained, and in bf16 within `narrow_tolerance`.
void check_family(const std::function<std::unique_ptr<Model>(const ModelOptions&)>& make, const ModelOptions& lora,
                  const Batch& batch, double narrow_tolerance) {
  check_model([&] { return make(lora); }, batch, 1e-6);
  check_model([&] { return make(full_options()); }, batch, 1e-6);
  ModelOptions narrow = lora;
  narrow.base_type = BaseType::kBFloat16;
  // Sums that round to the next bf16, and attention that rounds at other places.
  check_model([&] { return make(narrow); }, batch, narrow_tolerance);
}

}  // namespace

TEST("cuda models: t5 computes what it does with the CPU's kernels") {
  const auto make = [](bool gated) {
    return [gated](const ModelOptions& options) {
      return small_model(small_config(gated ? Activation::kGeluNew : Activation::kRelu, gated), options);
    };
  };
  // T5's scores are not scaled: large ones, of rounded operands, are far off each other.
  check_family(make(false), lora_options(), small_batch(), 1e-2);
  check_model([&] { return make(true)(full_options()); }, small_batch(), 1e-6);
}

TEST("cuda models: decoders compute what they do with the CPU's kernels") {
  const auto make = [](const DecoderConfig& config) {
    return [config](const ModelOptions& options) { return small_decoder_model(config, options); };
  };
  check_family(make(small_decoder()), decoder_lora(), decoder_batch(), 5e-3);
  check_model([&] { return make(biased_decoder())(full_options()); }, decoder_batch(), 1e-6);
}

TEST("cuda models: decoders answer and score as with the CPU's kernels, whether or not prompts begin alike") {
  for (BaseType base : {BaseType::kFloat32, BaseType::kBFloat16}) {
    ModelOptions options = decoder_lora();
    options.base_type = base;
    const std::unique_ptr<Model> model = small_decoder_model(small_decoder(), options);
    for (bool alike : {false, true}) {
      GenerateOptions prompts;
      ScoreOptions scored;
      for (int32_t prompt = 0; prompt < 3; ++prompt) {
        const int32_t length = 14 + 3 * prompt;
        for (int32_t i = 0; i < length; ++i) {
          prompts.input_ids.push_back((i * i + (alike && i < 11 ? 0 : 7 * prompt + 1)) % kDecoderVocabulary);
        }
        prompts.input_lengths.push_back(length);
        scored.option_lengths.push_back(1 + prompt);
        scored.option_prompts.push_back(prompt);
        for (int32_t i = 0; i <= prompt; ++i) scored.option_ids.push_back(5 * i + prompt);
      }
      scored.input_ids = prompts.input_ids;
      scored.input_lengths = prompts.input_lengths;
      CHECK((shared_tokens(scored.input_ids, scored.input_lengths) > 0) == alike);
      prompts.max_new_tokens = 3;
      prompts.batch_rows = 2;
      const auto answers = model->generate(prompts);
      const std::vector<double> expected = model->score_options(scored);
      Emulated gpu;
      CHECK(model->generate(prompts) == answers);
      const std::vector<double> found = model->score_options(scored);
      const double tolerance = base == BaseType::kFloat32 ? 1e-6 : 5e-3;
      for (size_t i = 0; i < found.size(); ++i) CHECK_NEAR(found[i], expected[i], tolerance * std::abs(expected[i]));
    }
  }
}

TEST("cuda models: encoders compute what they do with the CPU's kernels") {
  const EncoderConfig config = small_encoder(EncoderNaming::kBert);
  const ModelOptions lora = adapter_options(encoder_linear_modules(config), {"query", "value"}, 0.1);
  check_family([&](const ModelOptions& options) { return small_encoder_model(config, options); }, lora, encoder_batch(),
               5e-3);
}
