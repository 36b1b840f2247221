// The GPU's norms and their gradients against the CPU's.
#include "kernels/cuda/norms.h"

#include <algorithm>
#include <string>

#include "cuda_test.h"

using namespace rkif;
using namespace rkif::test;

namespace {

struct Shape {
  int64_t rows, columns, skipped;
};
// Rows for every way of sharing one out: a warp's (up to 512 and 1,024 columns), a block's (4,096 and 8,192), longer
// ones, and those that allow no access of 16 bytes.
const std::vector<Shape> kShapes{{0, 8, 0},    {1, 1, 0},     {3, 33, 0},   {9, 64, 0},   {9, 64, 1},   {200, 12, 0},
                                 {3, 768, 0},  {2, 1030, 0},  {3, 1536, 0}, {3, 4096, 0}, {2, 5000, 0}, {2, 8192, 0},
                                 {1, 8200, 0}, {2, 16400, 0}, {70, 257, 0}, {130, 256, 0}};
constexpr float kEpsilon = 1e-5f;

struct Problem {
  int64_t rows, columns, n;
  std::vector<float> x, g, weight, bias;
  const float *x_at, *g_at, *weight_at, *bias_at;

  explicit Problem(const Shape& shape)
      : rows(shape.rows),
        columns(shape.columns),
        n(rows * columns),
        x(normal(n + shape.skipped, 1)),
        g(normal(n + shape.skipped, 2)),
        weight(normal(columns + shape.skipped, 3)),
        bias(normal(columns + shape.skipped, 4)),
        x_at(x.data() + shape.skipped),
        g_at(g.data() + shape.skipped),
        weight_at(weight.data() + shape.skipped),
        bias_at(bias.data() + shape.skipped) {
    // Far from zero, where a variance may cancel.
    for (float& value : x) value += 3;
  }
};

// As a share of the largest value.
void check_near(const std::vector<float>& found, const std::vector<float>& expected, double tolerance) {
  float largest = 0;
  for (float value : expected) largest = std::max(largest, std::abs(value));
  CHECK_EQUAL(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) CHECK_NEAR(found[i], expected[i], tolerance * largest);
}

template <class Check>
void for_problems(const Check& check) {
  for (const Shape& shape : kShapes) {
    try {
      check(Problem(shape));
    } catch (const Failure& failure) {
      throw Failure(std::to_string(shape.rows) + " x " + std::to_string(shape.columns) + ": " + failure.what());
    }
  }
}

}  // namespace

TEST("cuda norms: RMS norm and its gradients as on the CPU") {
  const cuda::Context context = cuda_context();
  for_problems([&](const Problem& p) {
    std::vector<float> out(p.n, kNaN), expected(p.n), inverse(p.rows, kNaN), expected_inverse(p.rows);
    rkif::rms_norm(p.rows, p.columns, p.x_at, p.weight_at, kEpsilon, expected.data(), nullptr, expected_inverse.data());
    cuda::rms_norm(context, p.rows, p.columns, p.x_at, p.weight_at, kEpsilon, out.data(), nullptr, inverse.data());
    check_near(out, expected, 1e-6);
    check_near(inverse, expected_inverse, 1e-6);
    std::vector<float> without(p.n, kNaN);
    std::vector<Bfloat16> both(p.n), alone(p.n);
    cuda::rms_norm(context, p.rows, p.columns, p.x_at, p.weight_at, kEpsilon, without.data(), both.data(), nullptr);
    CHECK(without == out);
    cuda::rms_norm(context, p.rows, p.columns, p.x_at, p.weight_at, kEpsilon, nullptr, alone.data(), nullptr);
    CHECK(widened(both) == widened(rounded(out)));
    CHECK(widened(alone) == widened(both));

    std::vector<float> dx(p.n, kNaN), expected_dx(p.n);
    const auto check_gradient = [&]<class T>(const Parts<T>& g) {
      rkif::rms_norm_gradient(p.rows, p.columns, p.x_at, p.weight_at, expected_inverse.data(), g, expected_dx.data());
      cuda::rms_norm_gradient(context, p.rows, p.columns, p.x_at, p.weight_at, expected_inverse.data(), g, dx.data());
      check_near(dx, expected_dx, 2e-6);
    };
    check_gradient(Parts<float>{1, {p.g_at}});
    check_gradient(Parts<float>{2, {p.g_at, p.x_at}});
    check_gradient(Parts<Bfloat16>{1, {both.data()}});
    check_gradient(Parts<Bfloat16>{3, {both.data(), alone.data(), both.data()}});
    // In the place of a part.
    dx.assign(p.g_at, p.g_at + p.n);
    cuda::rms_norm_gradient(context, p.rows, p.columns, p.x_at, p.weight_at, expected_inverse.data(),
                            Parts<float>{2, {p.x_at, dx.data()}}, dx.data());
    rkif::rms_norm_gradient(p.rows, p.columns, p.x_at, p.weight_at, expected_inverse.data(),
                            Parts<float>{2, {p.x_at, p.g_at}}, expected_dx.data());
    check_near(dx, expected_dx, 2e-6);

    std::vector<float> dweight(p.columns, 1), expected_dweight = dweight;
    rkif::add_rms_norm_weight_gradient(p.rows, p.columns, p.x_at, expected_inverse.data(), p.g_at,
                                       expected_dweight.data());
    cuda::add_rms_norm_weight_gradient(context, p.rows, p.columns, p.x_at, expected_inverse.data(), p.g_at,
                                       dweight.data());
    check_near(dweight, expected_dweight, 1e-6);
  });
}

TEST("cuda norms: layer norm and its gradients as on the CPU") {
  const cuda::Context context = cuda_context();
  for_problems([&](const Problem& p) {
    std::vector<float> out(p.n, kNaN), expected(p.n);
    std::vector<Moments> moments(p.rows), expected_moments(p.rows);
    rkif::layer_norm(p.rows, p.columns, p.x_at, p.weight_at, p.bias_at, kEpsilon, expected.data(),
                     expected_moments.data());
    cuda::layer_norm(context, p.rows, p.columns, p.x_at, p.weight_at, p.bias_at, kEpsilon, out.data(), moments.data());
    for (int64_t i = 0; i < p.rows; ++i) {
      CHECK_NEAR(moments[i].mean, expected_moments[i].mean, 2e-6 * std::abs(expected_moments[i].mean));
      // Of a single column, the variance is zero, and the rest rounding.
      CHECK_NEAR(moments[i].inverse, expected_moments[i].inverse, 4e-6 * expected_moments[i].inverse);
    }
    check_near(out, expected, 4e-6);
    std::vector<float> without(p.n, kNaN);
    cuda::layer_norm(context, p.rows, p.columns, p.x_at, p.weight_at, p.bias_at, kEpsilon, without.data(), nullptr);
    CHECK(without == out);

    std::vector<float> dx(p.n, kNaN), expected_dx(p.n);
    rkif::layer_norm_gradient(p.rows, p.columns, p.x_at, p.weight_at, expected_moments.data(), p.g_at,
                              expected_dx.data());
    cuda::layer_norm_gradient(context, p.rows, p.columns, p.x_at, p.weight_at, expected_moments.data(), p.g_at,
                              dx.data());
    check_near(dx, expected_dx, 4e-6);

    std::vector<float> dweight(p.columns, 1), dbias(p.columns, 2), expected_dweight = dweight, expected_dbias = dbias;
    rkif::add_layer_norm_parameter_gradients(p.rows, p.columns, p.x_at, expected_moments.data(), p.g_at,
                                             expected_dweight.data(), expected_dbias.data());
    cuda::add_layer_norm_parameter_gradients(context, p.rows, p.columns, p.x_at, expected_moments.data(), p.g_at,
                                             dweight.data(), dbias.data());
    check_near(dweight, expected_dweight, 2e-6);
    check_near(dbias, expected_dbias, 2e-6);
  });
}

TEST("cuda norms: the same bits whatever thread is first") {
  const cuda::Context context = cuda_context();
  for (const Shape& shape : {Shape{40, 260, 0}, Shape{3, 1536, 0}, Shape{2, 8200, 0}}) {
    const Problem p(shape);
    std::vector<std::vector<float>> first;
    in_thread_orders([&] {
      std::vector<float> y(p.n), inverse(p.rows), dx(p.n), dy(p.n), dweight(p.columns), dbias(p.columns);
      std::vector<Moments> moments(p.rows);
      cuda::rms_norm(context, p.rows, p.columns, p.x_at, p.weight_at, kEpsilon, y.data(), nullptr, inverse.data());
      cuda::rms_norm_gradient(context, p.rows, p.columns, p.x_at, p.weight_at, inverse.data(),
                              Parts<float>{1, {p.g_at}}, dx.data());
      std::vector<std::vector<float>> found{y, inverse, dx};
      cuda::layer_norm(context, p.rows, p.columns, p.x_at, p.weight_at, p.bias_at, kEpsilon, y.data(), moments.data());
      cuda::layer_norm_gradient(context, p.rows, p.columns, p.x_at, p.weight_at, moments.data(), p.g_at, dy.data());
      cuda::add_layer_norm_parameter_gradients(context, p.rows, p.columns, p.x_at, moments.data(), p.g_at,
                                               dweight.data(), dbias.data());
      for (const auto& more : {y, dy, dweight, dbias}) found.push_back(more);
      if (first.empty()) first = found;
      CHECK(found == first);
    });
  }
}

TEST("cuda norms: a row with what is no number spoils no other") {
  const cuda::Context context = cuda_context();
  for (int64_t columns : {48, 45, 1536}) {
    std::vector<float> x = normal(3 * columns, 1), weight(columns, 1), out(3 * columns), bias(columns, 0);
    x[columns + 7] = kNaN;
    cuda::rms_norm(context, 3, columns, x.data(), weight.data(), kEpsilon, out.data(), nullptr, nullptr);
    for (int64_t i = 0; i < 3 * columns; ++i) CHECK_EQUAL(std::isnan(out[i]), i / columns == 1);
    x[columns + 7] = kInfinity;
    cuda::layer_norm(context, 3, columns, x.data(), weight.data(), bias.data(), kEpsilon, out.data(), nullptr);
    for (int64_t i = 0; i < 3 * columns; ++i) CHECK_EQUAL(std::isnan(out[i]), i / columns == 1);
  }
}
