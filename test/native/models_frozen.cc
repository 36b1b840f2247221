// Frozen adapters, penalties between adapters, and sums of outputs.
#include <ATen/ops/abs.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <functional>

#include "check.h"
#include "models_small_t5.h"
#include "models_training_checks.h"

using namespace rkif;
using namespace rkif::test;

namespace {

// Adapted layers of the tests' models, by their tensors in the flat vector; all in double precision.
struct Pair {
  at::Tensor a, b;
};

at::Tensor tensor_of(const at::Tensor& flat, const TensorLayout& at) {
  return flat.narrow(0, at.offset, at.shape[0] * at.shape[1]).view(at.shape).to(at::kDouble);
}

std::vector<Pair> pairs_of(const Model& model, const at::Tensor& flat) {
  std::vector<Pair> pairs;
  const auto& layout = model.layout();
  for (size_t i = 0; i < layout.size(); i += 2)
    pairs.push_back({tensor_of(flat, layout[i]), tensor_of(flat, layout[i + 1])});
  return pairs;
}

// Two frozen adapters beside the one that trains, all random.
std::unique_ptr<Model> model_with_frozen(const ModelOptions& options = lora_options(),
                                         const T5Config& config = small_config()) {
  std::unique_ptr<Model> model = small_model(config, options);
  for (uint64_t seed : {201, 202}) {
    fill_random(model->parameters(), seed, 0.15);
    model->freeze_adapter();
  }
  fill_random(model->parameters(), 203, 0.15);
  return model;
}

// A model whose one adapter, of three times the rank, is the three of model_with_frozen() side by side.
std::unique_ptr<Model> model_of_joined(ModelOptions options = lora_options()) {
  std::unique_ptr<Model> parts = model_with_frozen(options);
  for (AdaptedModule& module : options.adapter) module.r *= 3;
  std::unique_ptr<Model> joined = small_model(small_config(), options);
  const at::Tensor frozen = parts->frozen();
  const int64_t length = parts->parameters().numel();
  for (size_t i = 0; i < joined->layout().size(); ++i) {
    std::vector<at::Tensor> tensors;
    for (const at::Tensor& flat : {frozen.narrow(0, 0, length), frozen.narrow(0, length, length), parts->parameters()})
      tensors.push_back(tensor_of(flat, parts->layout()[i]));
    const TensorLayout& at = joined->layout()[i];
    joined->parameters()
        .narrow(0, at.offset, at.shape[0] * at.shape[1])
        .view(at.shape)
        .copy_(at::cat(tensors, i % 2 == 0 ? 0 : 1));
  }
  return joined;
}

// The penalty's gradient against central differences of `slow`, the penalty by its formula.
void check_penalty(Model& model, const std::function<double()>& add, const std::function<double()>& slow) {
  model.gradients().fill_(0.25);
  const double value = add();
  CHECK_NEAR(value / slow(), 1, 1e-5);
  at::Tensor gradients = model.gradients().sub(0.25);
  float* parameters = model.parameters().mutable_data_ptr<float>();
  double largest = gradients.abs().max().item<double>();
  for (int64_t i = 0; i < model.parameters().numel(); i += 7) {
    const float before = parameters[i];
    const float step = 2e-5f;  // small: absolute values have a kink at 0
    parameters[i] = before + step;
    const double up = slow(), high = parameters[i];
    parameters[i] = before - step;
    const double down = slow(), low = parameters[i];
    parameters[i] = before;
    CHECK_NEAR(gradients.const_data_ptr<float>()[i], (up - down) / (high - low), 1e-4 * largest);
  }
}

double slow_orthogonality(const Model& model, const Orthogonality& penalty) {
  const int64_t length = model.parameters().numel();
  const at::Tensor frozen = model.frozen();
  const std::vector<Pair> now = pairs_of(model, model.parameters());
  double sum = 0;
  for (int64_t start = 0; start < frozen.numel(); start += length) {
    const std::vector<Pair> past = pairs_of(model, frozen.narrow(0, start, length));
    for (size_t i = 0; i < now.size(); ++i) {
      for (int64_t j = 0; j < past[i].a.size(0); ++j) {
        for (int64_t k = 0; k < now[i].a.size(0); ++k) {
          const double product = past[i].a[j].dot(now[i].a[k]).item<double>();
          sum += penalty.l1 * (penalty.form == Orthogonality::Form::kSquared ? product * product : std::abs(product));
        }
      }
    }
  }
  for (const Pair& pair : now) sum += penalty.l2 * (pair.a.norm().item<double>() + pair.b.norm().item<double>());
  return sum;
}

double slow_overlap(const Model& model, double scale, double weight) {
  const int64_t length = model.parameters().numel();
  const at::Tensor frozen = model.frozen();
  const std::vector<Pair> now = pairs_of(model, model.parameters());
  double sum = 0;
  for (size_t i = 0; i < now.size(); ++i) {
    at::Tensor past = at::zeros({now[i].b.size(0), now[i].a.size(1)}, at::kDouble);
    for (int64_t start = 0; start < frozen.numel(); start += length) {
      const Pair pair = pairs_of(model, frozen.narrow(0, start, length))[i];
      past.add_(pair.b.matmul(pair.a), scale);
    }
    const at::Tensor product = now[i].b.matmul(now[i].a).mul(scale).mul(past);
    sum += product.mul(product).sum().item<double>();
  }
  return weight * sum;
}

}  // namespace

TEST("frozen adapters: the model computes what one adapter of all ranks together does, forward and backward") {
  for (double dropout : {0.0, 0.3}) {
    std::unique_ptr<Model> parts = model_with_frozen(lora_options(dropout)),
                           joined = model_of_joined(lora_options(dropout));
    Result of_parts = run(*parts, {small_batch()}, with_dropout());
    Result of_joined = run(*joined, {small_batch()}, with_dropout());
    CHECK_NEAR(of_parts.report.loss_sum / of_joined.report.loss_sum, 1, 1e-6);
    // The gradient of the part that trains: the last rows of A, the last columns of B.
    at::Tensor expected = at::empty({parts->parameters().numel()}, at::kFloat);
    for (size_t i = 0; i < parts->layout().size(); ++i) {
      const TensorLayout& at = parts->layout()[i];
      const int64_t dimension = i % 2 == 0 ? 0 : 1, r = at.shape[dimension];
      expected.narrow(0, at.offset, at.shape[0] * at.shape[1])
          .view(at.shape)
          .copy_(tensor_of(joined->gradients(), joined->layout()[i]).narrow(dimension, 2 * r, r));
    }
    CHECK_NEAR(relative_difference(of_parts.gradients, values(expected)), 0, 1e-5);
    CHECK_NEAR(relative_difference(values(parts->logits(small_batch())), values(joined->logits(small_batch()))), 0,
               1e-5);
  }
}

TEST("frozen adapters: derivatives of the adapter that trains, dropout on") {
  check_derivatives(*model_with_frozen(lora_options(), small_config(Activation::kGelu)), small_batch());
}

TEST("frozen adapters: a bf16 and an int8 base add them as well") {
  for (BaseType type : {BaseType::kBFloat16, BaseType::kInt8}) {
    ModelOptions options = lora_options();
    options.base_type = type;
    CHECK_NEAR(relative_difference(values(model_with_frozen(options)->logits(small_batch())),
                                   values(model_of_joined(options)->logits(small_batch()))),
               0, 0.02);
    CHECK(relative_difference(values(model_with_frozen(options)->logits(small_batch())),
                              values(small_model(small_config(), options)->logits(small_batch()))) > 0.05);
  }
}

TEST("frozen adapters: a merged model has them in its weights, and gives them back") {
  std::unique_ptr<Model> model = model_with_frozen();
  std::vector<float> before = values(model->logits(small_batch()));
  model->merge_adapter();
  CHECK_NEAR(relative_difference(values(model->logits(small_batch())), before), 0, 1e-4);
  model->unmerge_adapter();
  CHECK(values(model->logits(small_batch())) == before);
}

TEST("frozen adapters: taken out as one vector and put in again, they are the same") {
  std::unique_ptr<Model> model = model_with_frozen();
  const int64_t length = model->parameters().numel();
  const at::Tensor frozen = model->frozen();
  CHECK_EQUAL(frozen.numel(), 2 * length);
  at::Tensor second = at::empty({length}, at::kFloat);
  fill_random(second, 202, 0.15);
  CHECK(values(frozen.narrow(0, length, length)) == values(second));

  std::unique_ptr<Model> other = small_model(small_config(), lora_options());
  other->parameters().copy_(model->parameters());
  const std::vector<float> without = values(other->logits(small_batch()));
  other->set_frozen(frozen);
  CHECK(values(other->logits(small_batch())) == values(model->logits(small_batch())));
  CHECK(values(other->frozen()) == values(frozen));
  other->set_frozen(frozen.narrow(0, 0, 0));
  CHECK(values(other->logits(small_batch())) == without);
  CHECK_EQUAL(other->frozen().numel(), 0);
  CHECK_THROWS(other->set_frozen(frozen.narrow(0, 0, length + 1)), std::invalid_argument, "multiple");
}

TEST("frozen adapters: a model whose every weight trains has none") {
  std::unique_ptr<Model> model = small_model(small_config(), full_options());
  CHECK_EQUAL(model->frozen().numel(), 0);
  CHECK_THROWS(model->freeze_adapter(), std::logic_error, "every weight");
  CHECK_THROWS(model->add_overlap_gradient(1), std::logic_error, "every weight");
  CHECK_THROWS(model->add_orthogonality_gradient({1, 1}), std::logic_error, "every weight");
}

TEST("penalties: orthogonality to frozen adapters, value and derivatives, in both forms") {
  using Form = Orthogonality::Form;
  std::unique_ptr<Model> model = model_with_frozen();
  for (const Orthogonality& penalty : {Orthogonality{0.5, 0, Form::kAbsolute}, Orthogonality{0.5, 0, Form::kSquared},
                                       Orthogonality{0, 0.3, Form::kAbsolute}, Orthogonality{2, 0.3, Form::kSquared}}) {
    check_penalty(
        *model, [&] { return model->add_orthogonality_gradient(penalty); },
        [&] { return slow_orthogonality(*model, penalty); });
  }
}

TEST("penalties: overlap with frozen adapters, value and derivatives") {
  std::unique_ptr<Model> model = model_with_frozen();
  check_penalty(*model, [&] { return model->add_overlap_gradient(40); }, [&] { return slow_overlap(*model, 2, 40); });
}

TEST("penalties: none without frozen adapters, and the derivative of a norm of 0 is 0") {
  std::unique_ptr<Model> model = small_model(small_config(), lora_options());
  model->gradients().zero_();
  CHECK_EQUAL(model->add_orthogonality_gradient({1, 0}), 0);
  CHECK_EQUAL(model->add_overlap_gradient(1), 0);
  model->parameters().zero_();
  CHECK_EQUAL(model->add_orthogonality_gradient({1, 1}), 0);
  model->freeze_adapter();
  CHECK_EQUAL(model->add_orthogonality_gradient({1, 1}), 0);
  CHECK_EQUAL(model->gradients().abs().max().item<float>(), 0);
}

TEST("output sums: batches add up, whatever their split, and the step computes the same") {
  std::unique_ptr<Model> model = model_with_frozen();
  int64_t rows = 0;
  for (const TensorLayout& tensor : model->layout()) rows += tensor.shape[0];
  auto sums_of = [&](const std::vector<Batch>& parts, Result* result) {
    AccumulateOptions options = with_dropout();
    options.output_sums = at::zeros({rows}, at::kFloat);
    *result = run(*model, parts, options);
    return values(options.output_sums);
  };
  Batch batch = small_batch();
  Result together, split, plain = run(*model, {batch}, with_dropout());
  std::vector<float> sums = sums_of({batch}, &together);
  CHECK_NEAR(relative_difference(sums_of({part_of(batch, {3, 0}), part_of(batch, {1, 4, 2})}, &split), sums), 0, 1e-5);
  CHECK_NEAR(relative_difference(together.gradients, plain.gradients), 0, 1e-5);
  CHECK_EQUAL(run(*model, {batch}, with_dropout()).report.loss_sum, plain.report.loss_sum);
  for (float sum : sums) CHECK(sum > 0);

  AccumulateOptions wrong = with_dropout();
  wrong.output_sums = at::zeros({rows - 1}, at::kFloat);
  CHECK_THROWS(model->accumulate(batch, wrong), std::invalid_argument, "rows");
}

TEST("output sums: of the first layer, as its formula gives them") {
  // The only adapted layer's input is the norm of the embeddings: worked out here.
  const std::string module = "encoder.block.0.layer.0.SelfAttention.q";
  ModelOptions options;
  options.adapter.push_back({module, 4, 2});
  options.base_dropout = 0;
  std::unique_ptr<Model> model = small_model(small_config(), options);
  Batch batch = small_batch();
  Weights weights = random_weights(small_config());
  const at::Tensor embedding = weights["shared.weight"].to(at::kDouble);
  const at::Tensor gain = weights["encoder.block.0.layer.0.layer_norm.weight"].to(at::kDouble);
  const Pair pair = pairs_of(*model, model->parameters())[0];
  at::Tensor a = at::zeros({4}, at::kDouble), b = at::zeros({pair.b.size(0)}, at::kDouble);
  for (int32_t id : batch.input_ids) {
    at::Tensor x = embedding[id];
    x = x.mul(gain).div(x.mul(x).mean().add(small_config().layer_norm_epsilon).sqrt());
    const at::Tensor h = pair.a.mv(x);
    a.add_(h.abs());
    b.add_(pair.b.mv(h).abs());
  }
  AccumulateOptions accumulate;
  accumulate.divisor = 17;
  accumulate.output_sums = at::zeros({4 + pair.b.size(0)}, at::kFloat);
  model->accumulate(batch, accumulate);
  CHECK_NEAR(relative_difference(values(accumulate.output_sums), values(at::cat({a, b}))), 0, 1e-5);
}
