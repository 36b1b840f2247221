// The GPU's means of texts' rows, and their gradients, against the CPU's.
#include "kernels/cuda/pooling.h"

#include <algorithm>
#include <string>

#include "cuda_test.h"

using namespace rkif;
using namespace rkif::test;

namespace {

void check(const cuda::Context& context, const std::vector<int32_t>& lengths_of_texts, int64_t columns) {
  std::vector<int32_t> starts{0};
  for (int32_t length : lengths_of_texts) starts.push_back(starts.back() + length);
  const PackedTexts texts{static_cast<int64_t>(lengths_of_texts.size()), starts.data()};
  const int64_t rows = starts.back(), n = texts.count * columns;
  std::vector<float> states = normal(rows * columns, 1);
  // A text whose mean is nothing.
  if (texts.count > 1) std::fill(states.begin() + starts[1] * columns, states.begin() + starts[2] * columns, 0.0f);
  const std::vector<float> g = normal(n, 2);

  std::vector<float> expected(n), expected_lengths(texts.count), expected_gradient(rows * columns);
  rkif::mean_unit_vectors(texts, columns, states.data(), expected.data(), expected_lengths.data());
  rkif::mean_unit_vectors_gradient(texts, columns, expected.data(), expected_lengths.data(), g.data(),
                                   expected_gradient.data());
  std::vector<float> out(n, kNaN), lengths(texts.count, kNaN), gradient(rows * columns, kNaN);
  cuda::mean_unit_vectors(context, texts, columns, states.data(), out.data(), nullptr);
  cuda::mean_unit_vectors(context, texts, columns, states.data(), out.data(), lengths.data());
  cuda::mean_unit_vectors_gradient(context, texts, columns, expected.data(), expected_lengths.data(), g.data(),
                                   gradient.data());
  for (int64_t i = 0; i < n; ++i) CHECK_NEAR(out[i], expected[i], 1e-6);
  for (int64_t i = 0; i < texts.count; ++i) CHECK_NEAR(lengths[i], expected_lengths[i], 1e-6 * expected_lengths[i]);
  for (int64_t i = 0; i < rows * columns; ++i) {
    const float length =
        expected_lengths[std::upper_bound(starts.begin(), starts.end(), i / columns) - starts.begin() - 1];
    CHECK_NEAR(gradient[i], expected_gradient[i], 1e-5 / std::max(length, kShortestMean));
  }
}

}  // namespace

TEST("cuda pooling: means of length 1 and their gradients as on the CPU") {
  const cuda::Context context = cuda_context();
  check(context, {}, 8);
  for (int64_t columns : {1, 33, 384, 700}) {
    in_thread_orders([&] { check(context, {5, 2, 1, 40}, columns); });
  }
  // More texts than the grid has blocks.
  check(context, std::vector<int32_t>(50, 3), 16);
}
