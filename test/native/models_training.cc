// Loss and gradients of T5: packing, dropout, finite differences.
#include "check.h"
#include "models_small_t5.h"
#include "models_training_checks.h"

using namespace rkif;
using namespace rkif::test;

TEST("t5 training: loss and gradients do not depend on how records are batched, adapter, dropout on") {
  check_batching(*small_model(small_config(), lora_options()), small_batch());
}

TEST("t5 training: loss and gradients do not depend on how records are batched, all weights, dropout on") {
  check_batching(*small_model(small_config(Activation::kGeluNew, true, false), full_options()), small_batch());
}

TEST("t5 training: derivatives of every adapter tensor, dropout on") {
  check_derivatives(*small_model(small_config(), lora_options(0.1, {"q", "k", "v", "o", "wi", "wo"})), small_batch());
}

TEST("t5 training: derivatives of every weight, relu, tied, dropout on") {
  check_derivatives(*small_model(small_config(), full_options()), small_batch());
}

TEST("t5 training: derivatives of every weight, gated gelu, untied, dropout on") {
  check_derivatives(*small_model(small_config(Activation::kGeluNew, true, false), full_options()), small_batch());
}

TEST("t5 training: derivatives of every weight, gelu and gated silu, dropout on") {
  check_derivatives(*small_model(small_config(Activation::kGelu, false, true), full_options()), small_batch());
  check_derivatives(*small_model(small_config(Activation::kSilu, true, true), full_options()), small_batch());
}

TEST("t5 training: dropout of rate 0 equals no dropout, and loss() equals accumulate() without") {
  ModelOptions options = lora_options(0);
  options.base_dropout = 0;
  std::unique_ptr<Model> model = small_model(small_config(), options);
  Batch batch = small_batch();
  AccumulateOptions without;
  without.divisor = 17;
  Result plain = run(*model, {batch}, without);
  Result rate_zero = run(*model, {batch}, with_dropout());
  CHECK_EQUAL(relative_difference(rate_zero.gradients, plain.gradients), 0);
  CHECK_EQUAL(rate_zero.report.loss_sum, plain.report.loss_sum);
  double sum = 0;
  for (double loss : model->loss(batch, nullptr)) sum += loss;
  CHECK_NEAR(sum / plain.report.loss_sum, 1, 1e-6);
}

TEST("t5 training: gradients arrive in the flat vector and add up over calls") {
  for (const ModelOptions& options : {lora_options(), full_options()}) {
    std::unique_ptr<Model> model = small_model(small_config(), options);
    const float* gradients = model->gradients().const_data_ptr<float>();
    const float* parameters = model->parameters().const_data_ptr<float>();
    Result once = run(*model, {small_batch()}, with_dropout());
    Result twice = run(*model, {small_batch(), small_batch()}, with_dropout());
    CHECK_EQUAL(model->gradients().const_data_ptr<float>(), gradients);
    CHECK_EQUAL(model->parameters().const_data_ptr<float>(), parameters);
    for (float& g : once.gradients) g *= 2;
    CHECK_NEAR(relative_difference(twice.gradients, once.gradients), 0, 1e-6);
    for (const TensorLayout& tensor : model->layout()) {
      bool any = false;
      int64_t count = 1;
      for (int64_t size : tensor.shape) count *= size;
      for (int64_t i = 0; i < count; ++i) any = any || once.gradients[tensor.offset + i] != 0;
      if (!any) fail(__FILE__, __LINE__, tensor.name + " got no gradient");
    }
  }
}

TEST("t5 training: the same call gives the same bits") {
  std::unique_ptr<Model> model = small_model(small_config(), lora_options());
  Result first = run(*model, {small_batch()}, with_dropout());
  Result second = run(*model, {small_batch()}, with_dropout());
  CHECK_EQUAL(first.report.loss_sum, second.report.loss_sum);
  CHECK(first.gradients == second.gradients);
}

TEST("t5 training: labels that are all ignored add nothing") {
  std::unique_ptr<Model> model = small_model(small_config(), lora_options());
  Batch batch = part_of(small_batch(), {2, 3});
  for (int32_t& label : batch.labels) label = -100;
  Result result = run(*model, {batch}, with_dropout());
  CHECK_EQUAL(result.report.label_tokens, 0);
  CHECK_EQUAL(result.report.loss_sum, 0);
  for (float g : result.gradients) CHECK_EQUAL(g, 0.0f);
}

TEST("t5 training: an abort flag stops the work, and the model goes on afterwards") {
  std::unique_ptr<Model> model = small_model(small_config(), lora_options());
  Result before = run(*model, {small_batch()}, with_dropout());
  AccumulateOptions options = with_dropout();
  options.abort = std::make_shared<std::atomic<bool>>(true);
  CHECK_THROWS(model->accumulate(small_batch(), options), Aborted, "stopped");
  CHECK_THROWS(model->loss(small_batch(), options.abort), Aborted, "stopped");
  Result after = run(*model, {small_batch()}, with_dropout());
  CHECK(before.gradients == after.gradients);
}

TEST("t5 training: what cannot be a batch is refused by name") {
  std::unique_ptr<Model> model = small_model(small_config(), lora_options());
  Batch batch = small_batch();
  batch.input_ids[3] = 40;
  CHECK_THROWS(model->accumulate(batch, {}), std::invalid_argument, "input ids: token 3 is 40");
  batch = small_batch();
  batch.labels[2] = -1;
  CHECK_THROWS(model->accumulate(batch, {}), std::invalid_argument, "labels: token 2 is -1");
  batch = small_batch();
  batch.input_lengths[1] = 0;
  CHECK_THROWS(model->accumulate(batch, {}), std::invalid_argument, "sequence 1 has length 0");
  batch = small_batch();
  batch.record_keys.pop_back();
  CHECK_THROWS(model->accumulate(batch, {}), std::invalid_argument, "record keys");
}
