// Norms and their gradients against the formulas in double.
#include "check.h"
#include "kernels/norms.h"
#include "kernels_data.h"

using namespace rkif;
using namespace rkif::test;

namespace {

constexpr float kEpsilon = 1e-5f;
constexpr int64_t kRows = 37;
// Rows shorter than a span of lanes, as long as some, and with a rest.
const std::vector<int64_t> kColumns = {1, 7, 32, 64, 100, 771};

struct Problem {
  explicit Problem(int64_t columns)
      : columns(columns), n(kRows * columns), x(normal(n, 1)), weight(normal(columns, 2)), bias(normal(columns, 3)) {
    for (float& value : x) value += 2;
    for (uint32_t k = 0; k < kMostParts; ++k) parts.push_back(normal(n, 10 + k));
  }
  int64_t columns, n;
  std::vector<float> x, weight, bias;
  std::vector<std::vector<float>> parts;  // of gradients
};

// Row by row: mean and 1 / sqrt(variance + epsilon), or 0 and 1 / sqrt(mean square + epsilon).
struct Row {
  double mean = 0, inverse = 0;
};
Row row_of(const Problem& p, int64_t i, bool centred) {
  Row row;
  const auto d = static_cast<double>(p.columns);
  if (centred) {
    for (int64_t j = 0; j < p.columns; ++j) row.mean += p.x[i * p.columns + j] / d;
  }
  double squares = 0;
  for (int64_t j = 0; j < p.columns; ++j) squares += std::pow(p.x[i * p.columns + j] - row.mean, 2);
  row.inverse = 1 / std::sqrt(squares / d + kEpsilon);
  return row;
}

// y = weight * (x - mean) * r + bias and, of sum_j y_j g_j, the derivative by x in full: with n = (x - mean) * r,
// dn_j / dx_k = r (delta_jk - centred / d - n_j n_k / d).
std::vector<double> gradient_of(const Problem& p, const std::vector<double>& g, bool centred) {
  std::vector<double> dx(p.n);
  const auto d = static_cast<double>(p.columns);
  for (int64_t i = 0; i < kRows; ++i) {
    const Row row = row_of(p, i, centred);
    const auto n = [&](int64_t j) { return (p.x[i * p.columns + j] - row.mean) * row.inverse; };
    double sum = 0, along = 0;
    for (int64_t j = 0; j < p.columns; ++j) {
      sum += g[i * p.columns + j] * p.weight[j];
      along += g[i * p.columns + j] * p.weight[j] * n(j);
    }
    for (int64_t k = 0; k < p.columns; ++k) {
      dx[i * p.columns + k] =
          row.inverse * (g[i * p.columns + k] * p.weight[k] - (centred ? sum / d : 0) - n(k) * along / d);
    }
  }
  return dx;
}

template <class T>
std::vector<double> sum_of(const std::vector<std::vector<T>>& parts, int count) {
  std::vector<double> sum(parts[0].size());
  for (int k = 0; k < count; ++k) {
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += rkif::widened(parts[k][i]);
  }
  return sum;
}

}  // namespace

TEST("norms: RMS norm in fp32, in bf16, and both at once") {
  for (int64_t columns : kColumns) {
    const Problem p(columns);
    std::vector<double> expected, inverses;
    for (int64_t i = 0; i < kRows; ++i) {
      inverses.push_back(row_of(p, i, false).inverse);
      for (int64_t j = 0; j < columns; ++j) expected.push_back(p.weight[j] * p.x[i * columns + j] * inverses.back());
    }
    std::vector<float> out(p.n, kNaN), with(p.n, kNaN), inverse(kRows, kNaN);
    std::vector<Bfloat16> both(p.n), alone(p.n);
    rms_norm(kRows, columns, p.x.data(), p.weight.data(), kEpsilon, out.data(), nullptr, inverse.data());
    CHECK(largest_error(out, expected, 1e-3) < 1e-6);
    CHECK(largest_error(inverse, inverses, 1e-3) < 1e-6);
    rms_norm(kRows, columns, p.x.data(), p.weight.data(), kEpsilon, with.data(), both.data(), nullptr);
    rms_norm(kRows, columns, p.x.data(), p.weight.data(), kEpsilon, nullptr, alone.data(), nullptr);
    CHECK(same_bits(with, out));
    CHECK(same_bits(widened(both), widened(rounded(out))));
    CHECK(same_bits(widened(alone), widened(both)));
  }
}

TEST("norms: the gradient of RMS norm, of one to three parts, in place of one, on any number of threads") {
  for (int64_t columns : kColumns) {
    const Problem p(columns);
    std::vector<float> inverse(kRows), out(p.n), dx(p.n), in_place, single(p.n);
    rms_norm(kRows, columns, p.x.data(), p.weight.data(), kEpsilon, out.data(), nullptr, inverse.data());
    std::vector<std::vector<Bfloat16>> narrow;
    for (const auto& part : p.parts) narrow.push_back(rounded(part));
    for (int count = 1; count <= kMostParts; ++count) {
      Parts<float> wide{count};
      Parts<Bfloat16> rounded_parts{count};
      for (int k = 0; k < count; ++k) {
        wide.at[k] = p.parts[k].data();
        rounded_parts.at[k] = narrow[k].data();
      }
      const auto gradient = [&](const auto& g, float* to) {
        rms_norm_gradient(kRows, columns, p.x.data(), p.weight.data(), inverse.data(), g, to);
      };
      gradient(wide, dx.data());
      CHECK(largest_error(dx, gradient_of(p, sum_of(p.parts, count), false), 0.1) < 1e-4);
      with_threads(1, [&] { gradient(wide, single.data()); });
      CHECK(same_bits(single, dx));
      in_place = p.parts[count - 1];
      wide.at[count - 1] = in_place.data();
      gradient(wide, in_place.data());
      CHECK(same_bits(in_place, dx));
      gradient(rounded_parts, dx.data());
      CHECK(largest_error(dx, gradient_of(p, sum_of(narrow, count), false), 0.1) < 1e-4);
    }
    std::vector<float> dweight(columns, 1);
    std::vector<double> expected(columns, 1);
    for (int64_t i = 0; i < p.n; ++i) {
      expected[i % columns] += p.parts[0][i] * p.x[i] * row_of(p, i / columns, false).inverse;
    }
    add_rms_norm_weight_gradient(kRows, columns, p.x.data(), inverse.data(), p.parts[0].data(), dweight.data());
    CHECK(largest_error(dweight, expected, 0.1) < 1e-4);
  }
}

TEST("norms: layer norm and its gradients") {
  for (int64_t columns : kColumns) {
    if (columns == 1) continue;  // its variance is zero, and all else rounding
    const Problem p(columns);
    std::vector<double> expected;
    for (int64_t i = 0; i < kRows; ++i) {
      const Row row = row_of(p, i, true);
      for (int64_t j = 0; j < columns; ++j) {
        expected.push_back(p.weight[j] * (p.x[i * columns + j] - row.mean) * row.inverse + p.bias[j]);
      }
    }
    std::vector<float> out(p.n, kNaN), dx(p.n, kNaN), dweight(columns, 1), dbias(columns, 2);
    std::vector<Moments> moments(kRows);
    layer_norm(kRows, columns, p.x.data(), p.weight.data(), p.bias.data(), kEpsilon, out.data(), moments.data());
    CHECK(largest_error(out, expected, 0.1) < 1e-5);
    const std::vector<float>& g = p.parts[0];
    layer_norm_gradient(kRows, columns, p.x.data(), p.weight.data(), moments.data(), g.data(), dx.data());
    CHECK(largest_error(dx, gradient_of(p, sum_of(p.parts, 1), true), 0.1) < 1e-4);
    std::vector<double> expected_weight(columns, 1), expected_bias(columns, 2);
    for (int64_t i = 0; i < p.n; ++i) {
      const Row row = row_of(p, i / columns, true);
      expected_weight[i % columns] += g[i] * (p.x[i] - row.mean) * row.inverse;
      expected_bias[i % columns] += g[i];
    }
    add_layer_norm_parameter_gradients(kRows, columns, p.x.data(), moments.data(), g.data(), dweight.data(),
                                       dbias.data());
    CHECK(largest_error(dweight, expected_weight, 0.1) < 1e-4);
    CHECK(largest_error(dbias, expected_bias, 0.1) < 1e-4);
  }
}
