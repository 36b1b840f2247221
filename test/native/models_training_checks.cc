#include "models_training_checks.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "check.h"

namespace rkif::test {

namespace {

void check_same(const Result& actual, const Result& expected) {
  CHECK_EQUAL(actual.report.label_tokens, expected.report.label_tokens);
  CHECK_NEAR(actual.report.loss_sum / expected.report.loss_sum, 1, 1e-5);
  CHECK_NEAR(relative_difference(actual.gradients, expected.gradients), 0, 1e-5);
}

}  // namespace

Result run(Model& model, const std::vector<Batch>& parts, const AccumulateOptions& options) {
  Result result;
  model.gradients().zero_();
  for (const Batch& part : parts) {
    LossReport report = model.accumulate(part, options);
    result.report.loss_sum += report.loss_sum;
    result.report.label_tokens += report.label_tokens;
  }
  result.gradients = values(model.gradients());
  return result;
}

AccumulateOptions with_dropout() {
  AccumulateOptions options;
  options.divisor = 17;
  options.dropout = true;
  options.counters = {7, 1, 2, 3};
  return options;
}

void check_batching(Model& model, const Batch& batch) {
  Result together = run(model, {batch}, with_dropout());
  check_same(run(model, {part_of(batch, {4, 1, 3, 0, 2})}, with_dropout()), together);
  check_same(run(model, {part_of(batch, {3, 0}), part_of(batch, {1, 4, 2})}, with_dropout()), together);
  check_same(
      run(model,
          {part_of(batch, {0}), part_of(batch, {1}), part_of(batch, {2}), part_of(batch, {3}), part_of(batch, {4})},
          with_dropout()),
      together);
  AccumulateOptions other_step = with_dropout();
  other_step.counters.step = 4;
  CHECK(relative_difference(run(model, {batch}, other_step).gradients, together.gradients) > 0.01);
}

void check_derivatives(Model& model, const Batch& batch) {
  AccumulateOptions accumulate = with_dropout();
  accumulate.loss_scale = 3;
  model.gradients().zero_();
  model.accumulate(batch, accumulate);
  at::Tensor gradients = model.gradients().clone();

  uint64_t seed = 1000;
  for (const TensorLayout& tensor : model.layout()) {
    int64_t count = 1;
    for (int64_t size : tensor.shape) count *= size;
    at::Tensor weights = model.parameters().narrow(0, tensor.offset, count);
    at::Tensor before = weights.clone();
    at::Tensor gradient = gradients.narrow(0, tensor.offset, count);
    // Along the gradient plus noise of its size: never close to orthogonal to it.
    at::Tensor direction = at::empty_like(gradient);
    fill_random(direction, seed++, 1);
    direction.mul_(gradient.norm().item<double>() / direction.norm().item<double>()).add_(gradient);
    direction.div_(direction.norm().item<double>());
    double expected = direction.dot(gradient).item<double>();

    // A small step: ReLU and its neighbours are only piecewise smooth. The loss is exact to about 1e-6.
    double step = 4e-3;
    weights.copy_(before).add_(direction, step);
    double up = model.accumulate(batch, accumulate).loss_sum;
    weights.copy_(before).add_(direction, -step);
    double down = model.accumulate(batch, accumulate).loss_sum;
    weights.copy_(before);
    double measured = accumulate.loss_scale / accumulate.divisor * (up - down) / (2 * step);
    if (std::abs(measured - expected) > 0.02 * std::abs(expected) + 2e-3) {
      fail(__FILE__, __LINE__,
           tensor.name + ": derivative " + std::to_string(expected) + ", by differences " + std::to_string(measured));
    }
  }
}

void check_checkpointing(const std::function<std::unique_ptr<Model>(const ModelOptions&)>& make, ModelOptions options,
                         const Batch& batch) {
  std::unique_ptr<Model> plain = make(options);
  options.gradient_checkpointing = true;
  std::unique_ptr<Model> model = make(options);
  auto with_sums = [&](Model& of) {
    AccumulateOptions accumulate = with_dropout();
    if (!options.full) {
      int64_t rows = 0;
      for (const TensorLayout& tensor : of.layout()) rows += tensor.shape[0];
      accumulate.output_sums = at::zeros({rows}, at::kFloat);
    }
    Result result = run(of, {batch}, accumulate);
    if (!options.full) {
      for (float sum : values(accumulate.output_sums)) result.gradients.push_back(sum);
    }
    return result;
  };
  Result expected = with_sums(*plain), found = with_sums(*model);
  CHECK_EQUAL(found.report.loss_sum, expected.report.loss_sum);
  // Gradients are summed in another order; in bf16 such a sum may be rounded to the next number.
  const double tolerance = options.base_type == BaseType::kBFloat16 ? 1e-4 : 1e-6;
  CHECK_NEAR(relative_difference(found.gradients, expected.gradients), 0, tolerance);
  CHECK(with_sums(*model).gradients == found.gradients);
  // Nothing is kept back by an evaluation or an aborted pass.
  const std::vector<double> losses = model->loss(batch, nullptr);
  CHECK(losses == plain->loss(batch, nullptr));
}

}  // namespace rkif::test
