// Activation, gate and dropout, and the end of a sublayer, against formulas in double precision.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "check.h"
#include "kernels/activation.h"
#include "kernels/residual.h"
#include "kernels_data.h"

using namespace rkif;
using namespace rkif::test;

namespace {

constexpr Activation kAll[] = {Activation::kRelu, Activation::kGelu, Activation::kGeluNew, Activation::kSilu};
constexpr double kPi = 3.14159265358979323846;

double exact(Activation activation, double x) {
  switch (activation) {
    case Activation::kRelu:
      return x > 0 ? x : 0;
    case Activation::kGelu:
      return x * 0.5 * std::erfc(-x / std::sqrt(2.0));
    case Activation::kGeluNew:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / kPi) * (x + 0.044715 * x * x * x)));
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
  }
  return 0;
}

// The slope by a difference, good to about 1e-9 where the function is smooth.
double slope(Activation activation, double x) {
  constexpr double h = 1e-5;
  return (exact(activation, x + h) - exact(activation, x - h)) / (2 * h);
}

}  // namespace

TEST("activation: values and slopes over their whole range") {
  std::vector<float> x;
  for (int i = -4000; i <= 4000; ++i) x.push_back(static_cast<float>(i) * 0.005f + 0.0011f);
  for (float far : {-300.0f, -100.0f, -40.0f, 40.0f, 100.0f, 300.0f}) x.push_back(far);
  const int64_t n = static_cast<int64_t>(x.size());
  for (Activation activation : kAll) {
    std::vector<float> y(n), dx(n), ones(n, 1);
    activation_forward<float>(activation, {1, n}, x.data(), nullptr, y.data());
    activation_backward<float>(activation, {1, n}, x.data(), nullptr, ones.data(), dx.data(), nullptr);
    for (int64_t i = 0; i < n; ++i) {
      CHECK_NEAR(y[i], exact(activation, x[i]), 1e-6 * std::max(1.0, std::abs(exact(activation, x[i]))));
      CHECK_NEAR(dx[i], slope(activation, x[i]), 2e-6);
    }
  }
}

TEST("activation: what is no number stays none") {
  for (Activation activation : kAll) {
    std::vector<float> x(19, kNaN), y(19, 0);
    activation_forward<float>(activation, {1, 19}, x.data(), nullptr, y.data());
    for (float value : y) CHECK(std::isnan(value));
  }
}

TEST("activation: gate, dropout and their gradients, each row with its mask") {
  constexpr int64_t rows = 7, columns = 45, n = rows * columns;
  const std::vector<float> x = normal(n, 1), gate = normal(n, 2), dout = normal(n, 3);
  const Places places(rows, 3, 5);
  std::vector<float> mask(n, 1);
  dropout_rows({rows, columns, places.keys(), 0.4}, mask.data(), mask.data());
  for (Activation activation : kAll) {
    const MaskedMatrix shape{rows, columns, places.keys(), 0.4};
    std::vector<float> y(n), dx(n), dgate(n);
    activation_forward<float>(activation, shape, x.data(), gate.data(), y.data());
    activation_backward<float>(activation, shape, x.data(), gate.data(), dout.data(), dx.data(), dgate.data());
    for (int64_t i = 0; i < n; ++i) {
      CHECK_NEAR(y[i], mask[i] * exact(activation, x[i]) * gate[i], 3e-6);
      CHECK_NEAR(dgate[i], mask[i] * dout[i] * exact(activation, x[i]), 3e-6);
      CHECK_NEAR(dx[i], mask[i] * dout[i] * gate[i] * slope(activation, x[i]), 1e-5);
    }
    // In the places of the inputs.
    std::vector<float> over_x = x, over_gate = gate;
    activation_backward<float>(activation, shape, over_x.data(), over_gate.data(), dout.data(), over_x.data(),
                               over_gate.data());
    CHECK(over_x == dx && over_gate == dgate);
  }
}

TEST("activation: bf16 is fp32 with its ends rounded") {
  constexpr int64_t rows = 3, columns = 70, n = rows * columns;
  const std::vector<Bfloat16> x = rounded(normal(n, 1)), gate = rounded(normal(n, 2)), dout = rounded(normal(n, 3));
  const std::vector<float> wide_x = widened(x), wide_gate = widened(gate), wide_dout = widened(dout);
  const Places places(rows, 3, 5);
  for (double rate : {0.0, 0.3}) {
    const MaskedMatrix shape{rows, columns, places.keys(), rate};
    std::vector<float> y(n), dx(n), dgate(n);
    activation_forward<float>(Activation::kSilu, shape, wide_x.data(), wide_gate.data(), y.data());
    activation_backward<float>(Activation::kSilu, shape, wide_x.data(), wide_gate.data(), wide_dout.data(), dx.data(),
                               dgate.data());
    std::vector<Bfloat16> narrow_y(n), narrow_dx(n), narrow_dgate(n);
    activation_forward<Bfloat16>(Activation::kSilu, shape, x.data(), gate.data(), narrow_y.data());
    activation_backward<Bfloat16>(Activation::kSilu, shape, x.data(), gate.data(), dout.data(), narrow_dx.data(),
                                  narrow_dgate.data());
    CHECK(widened(narrow_y) == widened(rounded(y)));
    CHECK(widened(narrow_dx) == widened(rounded(dx)));
    CHECK(widened(narrow_dgate) == widened(rounded(dgate)));
  }
}

TEST("bfloat16: rounds to the nearest, ties to even, and keeps what is no number") {
  const float cases[][2] = {{1.0f, 1.0f},
                            {1.00390625f, 1.0f},         // half of a step above 1: to the even one below
                            {1.01171875f, 1.015625f},    // half of a step above an odd one: up
                            {1.003906369f, 1.0078125f},  // just above the half
                            {-3.3895314e38f, -3.3895314e38f},
                            {3.4e38f, kInfinity},
                            {kInfinity, kInfinity},
                            {-kInfinity, -kInfinity}};
  for (const auto& [value, expected] : cases) CHECK_EQUAL(widened(rounded({value})[0]), expected);
  float odd_nan;
  const uint32_t bits = 0xffffffffu;
  std::memcpy(&odd_nan, &bits, sizeof bits);
  for (float value : {kNaN, odd_nan}) CHECK(std::isnan(widened(rounded({value})[0])));
}

TEST("residual: sum, mask and gradient, in fp32 and bf16") {
  constexpr int64_t rows = 5, columns = 37, n = rows * columns;
  const std::vector<float> residual = normal(n, 1), x = normal(n, 2);
  const std::vector<Bfloat16> narrow = rounded(x);
  const Places places(rows, 3, 5);
  for (double rate : {0.0, 0.25}) {
    std::vector<float> mask(n, 1);
    dropout_rows({rows, columns, places.keys(), rate}, mask.data(), mask.data());
    const MaskedMatrix shape{rows, columns, places.keys(), rate};
    std::vector<float> sum(n), narrow_sum(n), gradient(n);
    std::vector<Bfloat16> narrow_gradient(n);
    add_residual(shape, residual.data(), x.data(), sum.data());
    add_residual(shape, residual.data(), narrow.data(), narrow_sum.data());
    residual_gradient(shape, residual.data(), gradient.data());
    residual_gradient(shape, residual.data(), narrow_gradient.data());
    for (int64_t i = 0; i < n; ++i) {
      CHECK_EQUAL(sum[i], residual[i] + x[i] * mask[i]);
      CHECK_EQUAL(narrow_sum[i], residual[i] + widened(narrow[i]) * mask[i]);
      CHECK_EQUAL(gradient[i], residual[i] * mask[i]);
      CHECK_EQUAL(widened(narrow_gradient[i]), widened(rounded({gradient[i]})[0]));
    }
  }
}
