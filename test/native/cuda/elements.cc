// The GPU's elementwise passes over rows: dropout, residual connection, activation and rotation, against the CPU's.
#include <algorithm>
#include <string>

#include "cuda_test.h"
#include "kernels/cuda/activation.h"
#include "kernels/cuda/dropout.h"
#include "kernels/cuda/residual.h"
#include "kernels/cuda/rotate.h"
#include "kernels/cuda/sum.h"
#include "kernels/residual.h"

using namespace rkif;
using namespace rkif::test;

namespace {

constexpr Activation kAll[] = {Activation::kRelu, Activation::kGelu, Activation::kGeluNew, Activation::kSilu};

struct Shape {
  int64_t rows, columns;
};
// None, one element, rows that fill no access of 16 bytes, some that do, and more than the grid has threads.
const std::vector<Shape> kShapes{{0, 8}, {3, 0}, {1, 1}, {7, 45}, {5, 31}, {3, 33}, {6, 64}, {2, 264}, {40, 512}};

template <class T>
bool equal_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

// Numbers of all kinds, `skipped` more than the matrix has: it may begin in the middle of an access of 16 bytes.
std::vector<float> numbers(int64_t n, uint32_t seed) {
  std::vector<float> values = normal(n, seed);
  const float odd[] = {kInfinity, -kInfinity, kNaN, -0.0f, 1e-40f, 3e38f};
  for (size_t i = 0; i < std::size(odd); ++i) {
    if (static_cast<int64_t>(5 * i + 3) < n) values[5 * i + 3] = odd[i];
  }
  return values;
}

// check(shape, elements to skip) for all shapes, rates and beginnings.
template <class Check>
void for_matrices(const Check& check) {
  for (const Shape& shape : kShapes) {
    const Places places(shape.rows, 3, 5);
    for (double rate : {0.0, 0.3}) {
      for (int64_t skipped : {0, 1}) {
        try {
          check(MaskedMatrix{shape.rows, shape.columns, rate > 0 ? places.keys() : DropoutKeys{}, rate}, skipped);
        } catch (const Failure& failure) {
          throw Failure(std::to_string(shape.rows) + " x " + std::to_string(shape.columns) + ", rate " +
                        std::to_string(rate) + ", skipped " + std::to_string(skipped) + ": " + failure.what());
        }
      }
    }
  }
}

template <class T>
void check_residual(const cuda::Context& context) {
  for_matrices([&](const MaskedMatrix& shape, int64_t skipped) {
    const int64_t n = shape.rows * shape.columns + skipped;
    const std::vector<float> residual = numbers(n, 1);
    const std::vector<T> x = rounded<T>(numbers(n, 2));
    std::vector<float> expected = residual, found = residual;
    rkif::add_residual(shape, residual.data() + skipped, x.data() + skipped, expected.data() + skipped);
    // `out` may be an input.
    cuda::add_residual(context, shape, found.data() + skipped, x.data() + skipped, found.data() + skipped);
    CHECK(same_bits(found, expected));
    std::vector<T> expected_gradient(n), found_gradient(n);
    rkif::residual_gradient(shape, residual.data() + skipped, expected_gradient.data() + skipped);
    cuda::residual_gradient(context, shape, residual.data() + skipped, found_gradient.data() + skipped);
    CHECK(equal_bits(found_gradient, expected_gradient));
  });
}

template <class T>
void check_sum(const cuda::Context& context) {
  for (int64_t n : {0, 1, 3, 64, 1001, 20480}) {
    for (int64_t skipped : {0, 1}) {
      std::vector<std::vector<T>> values;
      for (uint32_t seed : {1, 2, 3}) values.push_back(rounded<T>(numbers(n + skipped, seed)));
      for (int count = 1; count <= kMostParts; ++count) {
        Parts<T> parts{count};
        for (int k = 0; k < count; ++k) parts.at[k] = values[k].data() + skipped;
        std::vector<float> expected(n + skipped), found(n + skipped);
        rkif::sum_parts(n, parts, expected.data() + skipped);
        cuda::sum_parts(context, n, parts, found.data() + skipped);
        CHECK(same_bits(found, expected));
        if constexpr (std::is_same_v<T, float>) {
          parts.at[0] = found.data() + skipped;
          std::copy(values[0].begin(), values[0].end(), found.begin());
          std::copy(values[0].begin(), values[0].begin() + skipped, expected.begin());
          cuda::sum_parts(context, n, parts, found.data() + skipped);
          CHECK(same_bits(found, expected));
        }
      }
    }
  }
}

// Within the tolerance, relative to the larger of the value and `size`; what is no finite number is the same.
void check_close(const std::vector<float>& found, const std::vector<float>& expected, const std::vector<float>& size,
                 double tolerance) {
  for (size_t i = 0; i < found.size(); ++i) {
    if (std::isnan(expected[i]) || std::isinf(expected[i])) {
      CHECK(std::isnan(expected[i]) ? std::isnan(found[i]) : found[i] == expected[i]);
      continue;
    }
    CHECK_NEAR(found[i], expected[i], tolerance * std::max({1e-30, double{std::abs(expected[i])}, double{size[i]}}));
  }
}

template <class T>
std::vector<float> wide(const std::vector<T>& values) {
  std::vector<float> out(values.size());
  for (size_t i = 0; i < values.size(); ++i) out[i] = widened(values[i]);
  return out;
}

template <class T>
void check_activation(const cuda::Context& context, double tolerance) {
  for_matrices([&](const MaskedMatrix& shape, int64_t skipped) {
    const int64_t n = shape.rows * shape.columns + skipped;
    const std::vector<T> x = rounded<T>(normal(n, 1, 4)), gate = rounded<T>(normal(n, 2)),
                         dout = rounded<T>(normal(n, 3));
    // What the results are made of, as a measure of them: they may cancel.
    std::vector<float> size(n);
    for (int64_t i = 0; i < n; ++i) {
      size[i] = 3 * std::max(1.0f, std::abs(widened(x[i]))) * std::max(1.0f, std::abs(widened(gate[i]))) *
                std::max(1.0f, std::abs(widened(dout[i])));
    }
    for (Activation activation : kAll) {
      for (bool gated : {false, true}) {
        const T* gate_at = gated ? gate.data() + skipped : nullptr;
        std::vector<T> expected(n), found(n), dx(n), dgate(n), found_dx = dout, found_dgate = gate;
        rkif::activation_forward(activation, shape, x.data() + skipped, gate_at, expected.data() + skipped);
        cuda::activation_forward(context, activation, shape, x.data() + skipped, gate_at, found.data() + skipped);
        check_close(wide(found), wide(expected), size, tolerance);
        rkif::activation_backward(activation, shape, x.data() + skipped, gate_at, dout.data() + skipped,
                                  dx.data() + skipped, dgate.data() + skipped);
        // Over dout and the gate.
        cuda::activation_backward(context, activation, shape, x.data() + skipped,
                                  gated ? found_dgate.data() + skipped : nullptr, found_dx.data() + skipped,
                                  found_dx.data() + skipped, found_dgate.data() + skipped);
        for (int64_t i = 0; i < skipped; ++i) found_dx[i] = dx[i], found_dgate[i] = dgate[i];
        check_close(wide(found_dx), wide(dx), size, tolerance);
        if (gated) check_close(wide(found_dgate), wide(dgate), size, tolerance);
      }
    }
  });
}

}  // namespace

TEST("cuda dropout: masks have the CPU's bits") {
  const cuda::Context context = cuda_context();
  for_matrices([&](const MaskedMatrix& shape, int64_t skipped) {
    const int64_t n = shape.rows * shape.columns + skipped;
    const std::vector<float> in = numbers(n, 1);
    std::vector<float> expected = in, found = in, elsewhere = in;
    rkif::dropout_rows(shape, in.data() + skipped, expected.data() + skipped);
    cuda::dropout_rows(context, shape, found.data() + skipped, found.data() + skipped);
    cuda::dropout_rows(context, shape, in.data() + skipped, elsewhere.data() + skipped);
    CHECK(same_bits(found, expected) && same_bits(elsewhere, expected));
  });
  CHECK_THROWS(cuda::dropout_rows(context, MaskedMatrix{1, 1, {}, 1.0}, nullptr, nullptr), std::invalid_argument,
               "dropout rate is 1.0");
}

TEST("cuda residual: sums and gradients have the CPU's bits, in fp32 and bf16") {
  const cuda::Context context = cuda_context();
  check_residual<float>(context);
  check_residual<Bfloat16>(context);
}

TEST("cuda sum: of one to three arrays with the CPU's bits, in fp32 and bf16") {
  const cuda::Context context = cuda_context();
  check_sum<float>(context);
  check_sum<Bfloat16>(context);
}

TEST("cuda activation: values, gates, dropout and gradients, in place too, as on the CPU") {
  const cuda::Context context = cuda_context();
  check_activation<float>(context, 1e-6);
  check_activation<Bfloat16>(context, 0x1p-8);
}

TEST("cuda activation: what is no number stays none") {
  const cuda::Context context = cuda_context();
  for (Activation activation : kAll) {
    std::vector<float> x(19, kNaN), y(19, 0);
    cuda::activation_forward<float>(context, activation, {1, 19}, x.data(), nullptr, y.data());
    for (float value : y) CHECK(std::isnan(value));
  }
}

TEST("cuda rotate: rows have the CPU's bits, there and back, in place too") {
  const cuda::Context context = cuda_context();
  struct Case {
    int64_t rows, heads, head_size, skipped;
  };
  for (const auto& [rows, heads, head_size, skipped] :
       std::vector<Case>{{0, 2, 8, 0}, {1, 1, 2, 0}, {5, 3, 10, 0}, {9, 4, 64, 0}, {9, 2, 64, 1}, {70, 8, 64, 0}}) {
    const int64_t half = head_size / 2, n = rows * heads * head_size + skipped;
    const std::vector<float> x = numbers(n, 1), cosine = normal(100 * half, 2), sine = normal(100 * half, 3);
    std::vector<int32_t> positions(rows);
    for (int64_t i = 0; i < rows; ++i) positions[i] = static_cast<int32_t>(i * 37 % 100);
    for (bool inverse : {false, true}) {
      std::vector<float> expected = x, found = x;
      rkif::rotate_rows(rows, heads, head_size, x.data() + skipped, positions.data(), cosine.data(), sine.data(),
                        inverse, expected.data() + skipped);
      cuda::rotate_rows(context, rows, heads, head_size, found.data() + skipped, positions.data(), cosine.data(),
                        sine.data(), inverse, found.data() + skipped);
      for (int64_t i = 0; i < n; ++i) {
        // Which of two NaN an operation keeps is not the program's to say.
        CHECK(std::isnan(expected[i]) ? std::isnan(found[i]) : same_bits({found[i]}, {expected[i]}));
      }
    }
  }
}
