// Layers laid out for products compute what plain ones do.
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/autograd.h>

#include "check.h"
#include "kernels/matmul_narrow.h"
#include "models/head.h"
#include "models/prepacked.h"
#include "models_small_t5.h"
#include "models_training_checks.h"

using namespace rkif;
using namespace rkif::test;

namespace {

ModelOptions prepacked(ModelOptions options) {
  options.prepack = true;
  return options;
}

}  // namespace

TEST("prepacked: both products, for any number of rows") {
  for (at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    if (!can_prepack(type)) continue;
    at::Tensor weight = at::empty({70, 33});
    fill_random(weight, 1, 1);
    weight = weight.to(type);
    const at::Tensor expected = weight.to(at::kFloat, false, true);
    const Prepacked both(weight);
    weight.zero_();  // nobody reads it any more
    const double tolerance = type == at::kFloat ? 1e-6 : 1e-2;
    for (int64_t rows : {1, 7, 40, 600}) {
      at::Tensor x = at::empty({rows, 33}), y = at::empty({rows, 70});
      fill_random(x, 2, 1);
      fill_random(y, 3, 1);
      auto product = [&](const at::Tensor& in, const at::Tensor& matrix) {
        return values(at::mm(in.to(type).to(at::kFloat), matrix));
      };
      at::Tensor forward = both.times_transposed(x.to(type)), backward = both.times(y.to(type));
      CHECK_EQUAL(forward.scalar_type(), type);
      CHECK_NEAR(relative_difference(values(forward.to(at::kFloat)), product(x, expected.t())), 0, tolerance);
      CHECK_NEAR(relative_difference(values(backward.to(at::kFloat)), product(y, expected)), 0, tolerance);
    }
  }
}

TEST("prepacked: loss and gradients are those of plain layers, dropout on, fp32 and bf16") {
  for (BaseType type : {BaseType::kFloat32, BaseType::kBFloat16}) {
    ModelOptions options = lora_options(0.1, {"q", "k", "v", "o", "wi", "wo"});
    options.base_type = type;
    const double tolerance = type == BaseType::kFloat32 ? 2e-6 : 2e-2;
    Result plain = run(*small_model(small_config(), options), {small_batch()}, with_dropout());
    Result packed = run(*small_model(small_config(), prepacked(options)), {small_batch()}, with_dropout());
    CHECK_NEAR(packed.report.loss_sum / plain.report.loss_sum, 1, tolerance);
    CHECK_NEAR(relative_difference(packed.gradients, plain.gradients), 0, tolerance);
  }
}

TEST("prepacked: a bf16 base's steps read a copy of the head, which changes no bit") {
  at::Tensor states = at::zeros({7, 46});
  Linear plain, copied;
  plain.weight = at::zeros({70, 46});
  fill_random(states, 1, 1);
  fill_random(plain.weight, 2, 0.3);
  copied.weight = plain.weight;
  ModelOptions options;
  options.base_type = BaseType::kBFloat16;
  const std::vector<int32_t> labels = {0, 69, 3, 3, 50, 7, 1};
  auto run_head = [&](const Linear& head, const ModelOptions& with) {
    at::Tensor x = states.clone().requires_grad_(true);
    const LossReport report = backward_of_labels(x, labels, {head}, with, {});
    return std::pair{report.loss_sum, values(x.grad())};
  };
  const auto expected = run_head(plain, options);
  // What the copy is made from is not read once it is there.
  if (multiplies_bfloat16()) {
    copied.rounded();
    copied.weight = at::zeros({70, 46});
  }
  CHECK(run_head(copied, prepacked(options)) == expected);
}

TEST("prepacked: the same call gives the same bits") {
  std::unique_ptr<Model> model = small_model(small_config(), prepacked(lora_options()));
  Result first = run(*model, {small_batch()}, with_dropout());
  Result second = run(*model, {small_batch()}, with_dropout());
  CHECK(first.gradients == second.gradients);
}

TEST("prepacked: a merged adapter takes the packed weight's place, and gives it back") {
  std::unique_ptr<Model> plain = small_model(small_config(), lora_options());
  std::unique_ptr<Model> model = small_model(small_config(), prepacked(lora_options()));
  const std::vector<float> before = values(model->logits(small_batch()));
  model->merge_adapter();
  const std::vector<float> merged = values(model->logits(small_batch()));
  plain->merge_adapter();
  CHECK_NEAR(relative_difference(merged, values(plain->logits(small_batch()))), 0, 1e-6);
  CHECK_NEAR(relative_difference(merged, before), 0, 1e-5);
  model->unmerge_adapter();
  CHECK(values(model->logits(small_batch())) == before);
}

TEST("prepacked: what trains or is int8 stays as it is") {
  ModelOptions int8 = lora_options();
  int8.base_type = BaseType::kInt8;
  for (const ModelOptions& options : {full_options(), int8}) {
    Result plain = run(*small_model(small_config(), options), {small_batch()}, with_dropout());
    Result packed = run(*small_model(small_config(), prepacked(options)), {small_batch()}, with_dropout());
    CHECK(packed.gradients == plain.gradients);
  }
}
