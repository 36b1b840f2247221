// Groups of linear layers that read the same rows, given or normalised, against each layer alone.
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <functional>

#include "check.h"
#include "models/linear.h"
#include "models/norm.h"
#include "models/packed.h"
#include "models_small_t5.h"

using namespace rkif;
using namespace rkif::test;

namespace {

constexpr int64_t kRows = 70, kWidth = 48, kRank = 4;
constexpr int64_t kOuts[] = {32, 48, 64};
constexpr double kEpsilon = 1e-6;

at::Tensor random(std::vector<int64_t> shape, uint64_t seed, double deviation) {
  at::Tensor tensor = at::zeros(shape);
  fill_random(tensor, seed, deviation);
  return tensor;
}

at::Tensor trained(at::Tensor tensor) {
  tensor.requires_grad_(true);
  tensor.mutable_grad() = at::zeros(tensor.sizes());
  return tensor;
}

// One with an adapter and a frozen one, one with nothing, one with an adapter and a bias; dropout of its own for each.
struct Group {
  Linear layers[3];
  at::Tensor x = random({kRows, kWidth}, 1, 1), norm = random({kWidth}, 2, 1);
  std::vector<at::Tensor> given;  // gradients of the outputs
  std::vector<Dropout> places;

  explicit Group(at::ScalarType type) {
    auto rows = std::make_shared<RowPlaces>(Sequences({40, 30}), std::vector<uint32_t>{4, 9});
    for (uint64_t i = 0; i < 3; ++i) {
      Linear& layer = layers[i];
      layer.weight = random({kOuts[i], kWidth}, 10 + i, 0.3).to(type);
      given.push_back(random({kRows, kOuts[i]}, 30 + i, 1));
      places.push_back({0.3, 77 + i, rows});
      if (i == 1) continue;
      layer.scale = 0.5;
      layer.a = trained(random({kRank, kWidth}, 20 + i, 0.3));
      layer.b = trained(random({kOuts[i], kRank}, 25 + i, 0.3));
    }
    layers[0].frozen_a = random({kRank, kWidth}, 40, 0.3);
    layers[0].frozen_b = random({kOuts[0], kRank}, 41, 0.3);
    layers[2].bias = random({kOuts[2]}, 42, 1);
  }

  std::vector<LinearUse> uses() const {
    return {{&layers[0], places[0]}, {&layers[1], places[1]}, {&layers[2], places[2]}};
  }
  std::vector<at::Tensor> alone(const at::Tensor& rows) const {
    std::vector<at::Tensor> outputs;
    for (const LinearUse& use : uses()) outputs.push_back(linear(rows, *use.layer, use.adapter_dropout));
    return outputs;
  }
};

struct Found {
  std::vector<std::vector<float>> y, adapters;  // values of the outputs, gradients of the adapters
  at::Tensor dx;
};

using Outputs = std::function<std::vector<at::Tensor>(const at::Tensor& x)>;

// Of the first `used` outputs. The weights of the others become NaN before the backward pass, in which nothing may be
// computed with them.
Found gradients(at::ScalarType type, size_t used, const std::function<Outputs(Group&)>& outputs_of) {
  Group group(type);
  const at::Tensor x = group.x.clone().requires_grad_(true);
  std::vector<at::Tensor> y = outputs_of(group)(x);
  Found found;
  for (const at::Tensor& output : y) found.y.push_back(values(output.detach().to(at::kFloat)));
  for (size_t i = used; i < 3; ++i) group.layers[i].weight.fill_(std::nan(""));
  y.resize(used);
  std::vector<at::Tensor> given(group.given.begin(), group.given.begin() + static_cast<std::ptrdiff_t>(used));
  for (size_t i = 0; i < used; ++i) given[i] = given[i].to(y[i].scalar_type());
  torch::autograd::backward(y, given);
  found.dx = x.grad();
  for (size_t i : {0, 2}) {
    for (const at::Tensor& factor : {group.layers[i].a, group.layers[i].b}) {
      found.adapters.push_back(values(factor.grad()));
    }
  }
  return found;
}

void check_near(const at::Tensor& found, const at::Tensor& expected, double tolerance) {
  const std::vector<float> a = values(found), b = values(expected);
  CHECK_EQUAL(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) CHECK_NEAR(a[i], b[i], tolerance);
}

void check_equal(const Found& found, const Found& expected) {
  CHECK(found.y == expected.y);
  CHECK(found.adapters == expected.adapters);
  // The sum over layers in another order.
  check_near(found.dx, expected.dx, 2e-5);
}

}  // namespace

TEST("linear: layers that read the same rows give what each gives alone, and its gradients") {
  for (at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    for (size_t used : {3, 2, 1}) {
      const Found together = gradients(type, used, [](Group& group) -> Outputs {
        return [&](const at::Tensor& x) { return linear_group(x, group.uses()); };
      });
      const Found alone = gradients(
          type, used, [](Group& group) -> Outputs { return [&](const at::Tensor& x) { return group.alone(x); }; });
      check_equal(together, alone);
    }
  }
}

TEST("linear: where the rows have no gradient, those of adapters are the same") {
  const Found with = gradients(at::kFloat, 3, [](Group& group) -> Outputs {
    return [&](const at::Tensor& x) { return linear_group(x, group.uses()); };
  });
  const Found without = gradients(at::kFloat, 3, [](Group& group) -> Outputs {
    return [&](const at::Tensor&) { return linear_group(group.x, group.uses()); };
  });
  CHECK(!without.dx.defined());
  CHECK(without.adapters == with.adapters);
}

TEST("linear: a layer to which nothing is added leaves its product as the weights have it") {
  for (at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    Group group(type);
    const at::Tensor stored = linear_group(group.x, {{&group.layers[0]}, {&group.layers[1], {}, true}})[1];
    CHECK_EQUAL(stored.scalar_type(), type);
    CHECK(values(stored.detach().to(at::kFloat)) == values(linear(group.x, group.layers[1])));
  }
  CHECK_THROWS(linear_group(at::ones({1, kWidth}), {}), c10::Error, "0 layers of the same rows");
}

TEST("linear: normalised rows as those of rms_norm, and their gradients through the norm") {
  for (at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    for (size_t used : {3, 1}) {
      const Found together = gradients(type, used, [](Group& group) -> Outputs {
        return [&](const at::Tensor& x) { return linear_group(RmsNormed{x, group.norm, kEpsilon}, group.uses()); };
      });
      const Found apart = gradients(type, used, [](Group& group) -> Outputs {
        return [&](const at::Tensor& x) { return linear_group(rms_norm(x, group.norm, kEpsilon), group.uses()); };
      });
      check_equal(together, apart);
    }
    // Without a gradient anywhere.
    Group group(type);
    at::NoGradGuard no_grad;
    const auto y = linear_group(RmsNormed{group.x, group.norm, kEpsilon}, group.uses());
    const auto expected = linear_group(rms_norm(group.x, group.norm, kEpsilon), group.uses());
    for (size_t i = 0; i < 3; ++i) CHECK(values(y[i]) == values(expected[i]));
  }
}

TEST("linear: normalised rows that only bf16 products read, one or several") {
  for (size_t used : {1, 2}) {
    Group group(at::kBFloat16);
    const auto layer = [&](size_t i) {
      Linear plain;
      plain.weight = group.layers[i].weight;
      return plain;
    };
    const Linear first = layer(0), second = layer(1);
    std::vector<LinearUse> uses = {{&first, {}, true}, {&second, {}, true}};
    const auto gradient = [&](const auto& rows_of) {
      const at::Tensor x = group.x.clone().requires_grad_(true);
      std::vector<at::Tensor> y = linear_group(rows_of(x), uses), given;
      for (size_t i = 0; i < used; ++i) {
        CHECK_EQUAL(y[i].scalar_type(), at::kBFloat16);
        given.push_back(group.given[i].to(at::kBFloat16));
      }
      y.resize(used);
      torch::autograd::backward(y, given);
      return x.grad();
    };
    check_near(gradient([&](const at::Tensor& x) { return RmsNormed{x, group.norm, kEpsilon}; }),
               gradient([&](const at::Tensor& x) { return rms_norm(x, group.norm, kEpsilon); }), 2e-5);
  }
}

TEST("linear: the gradient of a norm's weight, whether its rows have one or not") {
  Group group(at::kFloat);
  group.norm = trained(group.norm);
  const auto gradient = [&](const at::Tensor& x, bool apart) {
    group.norm.mutable_grad().zero_();
    const auto y = apart ? linear_group(rms_norm(x, group.norm, kEpsilon), group.uses())
                         : linear_group(RmsNormed{x, group.norm, kEpsilon}, group.uses());
    torch::autograd::backward(y, group.given);
    return group.norm.grad().clone();
  };
  const at::Tensor expected = gradient(group.x, true);
  check_near(gradient(group.x, false), expected, 1e-4);
  check_near(gradient(group.x.clone().requires_grad_(true), false), expected, 1e-4);
}
