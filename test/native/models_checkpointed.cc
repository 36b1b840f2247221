// Gradient checkpointing changes what is kept, not what is computed.
#include "check.h"
#include "models_small_encoder.h"
#include "models_small_t5.h"
#include "models_training_checks.h"

using namespace rkif;
using namespace rkif::test;

TEST("checkpointing: t5, adapters and every weight, both base types") {
  const std::vector<std::string> targets = {"q", "k", "v", "o", "wi", "wo"};
  for (BaseType type : {BaseType::kFloat32, BaseType::kBFloat16}) {
    ModelOptions options = lora_options(0.1, targets);
    options.base_type = type;
    check_checkpointing([](const ModelOptions& o) { return small_model(small_config(), o); }, options, small_batch());
  }
  check_checkpointing([](const ModelOptions& o) { return small_model(small_config(Activation::kGeluNew, true), o); },
                      full_options(), small_batch());
}

TEST("checkpointing: an adapter on one layer only, below and above layers without") {
  for (const char* module : {"encoder.block.0.layer.0.SelfAttention.q", "decoder.block.1.layer.1.EncDecAttention.v"}) {
    ModelOptions options;
    options.adapter = {{module, 4, 2}};
    options.adapter_dropout = 0.1;
    check_checkpointing([](const ModelOptions& o) { return small_model(small_config(), o); }, options, small_batch());
  }
}

TEST("checkpointing: encoders") {
  const EncoderConfig config = small_encoder(EncoderNaming::kBert);
  ModelOptions options = adapter_options(encoder_linear_modules(config), {"query", "value", "dense"}, 0.1);
  check_checkpointing([&](const ModelOptions& o) { return small_encoder_model(config, o); }, options, encoder_batch());
}

TEST("checkpointing: an abort flag stops the work, and the model goes on afterwards") {
  ModelOptions options = lora_options();
  options.gradient_checkpointing = true;
  std::unique_ptr<Model> model = small_model(small_config(), options);
  Result before = run(*model, {small_batch()}, with_dropout());
  AccumulateOptions stopped = with_dropout();
  stopped.abort = std::make_shared<std::atomic<bool>>(true);
  CHECK_THROWS(run(*model, {small_batch()}, stopped), Aborted, "stopped");
  Result after = run(*model, {small_batch()}, with_dropout());
  CHECK(after.gradients == before.gradients);
}
