// The parts of the models against formulas worked by hand.
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "check.h"
#include "models/dropout.h"
#include "models/head.h"
#include "models/linear.h"
#include "models/loss.h"
#include "models/norm.h"
#include "models/packed.h"
#include "models/relative_bias.h"
#include "models_small_t5.h"

using namespace rkif;
using namespace rkif::test;

TEST("models: relative position buckets as transformers 5.17 computes them") {
  // T5Attention._relative_position_bucket(offset, bidirectional, 32, 128).
  RelativeBuckets encoder(true, 32, 128), decoder(false, 32, 128);
  struct Case {
    int64_t offset;
    int32_t encoder;
    int32_t decoder;
  };
  for (Case c : {Case{-1000, 15, 31}, Case{-200, 15, 31}, Case{-128, 15, 31}, Case{-127, 15, 31}, Case{-91, 15, 29},
                 Case{-64, 14, 26},   Case{-46, 13, 24},  Case{-45, 12, 23},  Case{-32, 12, 21},  Case{-31, 11, 21},
                 Case{-23, 11, 18},   Case{-16, 10, 16},  Case{-15, 9, 15},   Case{-12, 9, 12},   Case{-11, 8, 11},
                 Case{-8, 8, 8},      Case{-7, 7, 7},     Case{-1, 1, 1},     Case{0, 0, 0},      Case{1, 17, 0},
                 Case{7, 23, 0},      Case{8, 24, 0},     Case{11, 24, 0},    Case{12, 25, 0},    Case{15, 25, 0},
                 Case{16, 26, 0},     Case{22, 26, 0},    Case{23, 27, 0},    Case{32, 28, 0},    Case{45, 28, 0},
                 Case{64, 30, 0},     Case{90, 30, 0},    Case{91, 31, 0},    Case{127, 31, 0},   Case{128, 31, 0},
                 Case{129, 31, 0},    Case{500, 31, 0}}) {
    CHECK_EQUAL(encoder.bucket(c.offset), c.encoder);
    CHECK_EQUAL(decoder.bucket(c.offset), c.decoder);
  }
  CHECK_THROWS(RelativeBuckets(true, 2, 128), std::invalid_argument, "at least 4 buckets");
  CHECK_THROWS(RelativeBuckets(false, 32, 16), std::invalid_argument, "distance above 16");
}

TEST("models: rms norm of a row worked by hand") {
  at::Tensor x = at::zeros({1, 2}), weight = at::ones({2});
  x.mutable_data_ptr<float>()[0] = 3;
  x.mutable_data_ptr<float>()[1] = 4;
  weight.mutable_data_ptr<float>()[1] = 2;
  // The mean of the squares is 12.5.
  std::vector<float> y = values(rms_norm(x, weight, 0));
  CHECK_NEAR(y[0], 3 / std::sqrt(12.5), 1e-6);
  CHECK_NEAR(y[1], 8 / std::sqrt(12.5), 1e-6);
}

TEST("models: cross entropy and its gradient against double precision") {
  constexpr int64_t kRows = 3, kVocabulary = 700001;  // more than a chunk of the implementation
  at::Tensor logits = at::zeros({kRows, kVocabulary});
  fill_random(logits, 5, 3);
  std::vector<float> x = values(logits);
  std::vector<int32_t> labels = {0, 12345, 700000};
  std::vector<double> losses = cross_entropy(logits, labels);
  CHECK(values(logits) == x);
  // Several labels of one row, and none of another.
  std::vector<double> several = cross_entropy(logits, {0, 2, 2}, {0, 5, 700000});
  CHECK_EQUAL(several[0], losses[0]);
  CHECK_EQUAL(several[2], losses[2]);
  CHECK_NEAR(several[1] - several[2], double{x[2 * kVocabulary + 700000]} - x[2 * kVocabulary + 5], 1e-5);
  std::vector<double> again = losses_of(cross_entropy_into_gradient(logits, labels, 0.5));
  const float* gradient = logits.const_data_ptr<float>();
  for (int64_t i = 0; i < kRows; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < kVocabulary; ++j) sum += std::exp(double{x[i * kVocabulary + j]});
    double expected = std::log(sum) - x[i * kVocabulary + labels[i]];
    CHECK_NEAR(losses[i], expected, 1e-5 * expected);
    CHECK_EQUAL(again[i], losses[i]);
    for (int64_t j : {int64_t{0}, int64_t{77}, int64_t{12345}, kVocabulary - 1}) {
      double p = std::exp(x[i * kVocabulary + j]) / sum;
      CHECK_NEAR(gradient[i * kVocabulary + j], 0.5 * (p - (j == labels[i])), 1e-6);
    }
  }
}

TEST("models: labels' losses without logits are those of logits, with their gradient, scaled as the head is") {
  constexpr int64_t kRows = 9, kVocabulary = 1500, kWidth = 20;
  const at::Tensor states = random_matrix(kRows, kWidth, 3, 1);
  Linear layer;
  layer.weight = random_matrix(kVocabulary, kWidth, 4, 1);
  layer.weight.set_requires_grad(false);
  const std::vector<int32_t> labels = {0, 1499, 700, 5, 5, 1000, 3, 2, 1};
  AccumulateOptions accumulate;
  accumulate.loss_scale = 3;
  accumulate.divisor = 7;
  for (double scale : {1.0, 0.3}) {
    const auto run = [&](const auto& backward) {
      at::Tensor x = states.detach().clone().requires_grad_(true);
      const LossReport report = backward(x);
      CHECK_EQUAL(report.label_tokens, kRows);
      return std::pair{report.loss_sum, values(x.grad())};
    };
    const VocabularyHead head{layer, scale};
    const auto expected = run([&](const at::Tensor& x) {
      return backward_of_cross_entropy(vocabulary_logits(x, head, {}), labels, accumulate);
    });
    const auto found = run([&](const at::Tensor& x) { return backward_of_labels(x, labels, head, {}, accumulate); });
    CHECK_NEAR(found.first / expected.first, 1, 1e-6);
    CHECK(relative_difference(found.second, expected.second) < 1e-6);
    // A layer that trains has a gradient, too.
    Linear trained;
    trained.weight = layer.weight.detach().clone().requires_grad_(true);
    trained.weight.mutable_grad() = at::zeros_like(trained.weight);
    const auto again =
        run([&](const at::Tensor& x) { return backward_of_labels(x, labels, {trained, scale}, {}, accumulate); });
    CHECK_NEAR(again.first / expected.first, 1, 1e-6);
    CHECK(relative_difference(again.second, expected.second) < 1e-6);
    // Probabilities less the labels add up to zero over the tokens.
    const std::vector<float> of_weight = values(trained.weight.grad());
    std::vector<double> sums(kWidth);
    for (size_t i = 0; i < of_weight.size(); ++i) sums[i % kWidth] += of_weight[i];
    for (double sum : sums) CHECK_NEAR(sum, 0, 1e-5);
    CHECK(*std::max_element(of_weight.begin(), of_weight.end()) > 0.1);
  }
}

TEST("models: dropout keeps the share asked for, scaled, and passes the gradient through the same mask") {
  Sequences sequences({300, 200});
  Dropout place{0.25, 123, std::make_shared<RowPlaces>(sequences, std::vector<uint32_t>{4, 9})};
  at::Tensor x = at::ones({500, 64});
  x.set_requires_grad(true);
  at::Tensor y = dropout(x, place);
  int64_t kept = 0;
  for (float value : values(y)) {
    CHECK(value == 0 || std::abs(value - 4.0f / 3) < 1e-6f);
    kept += value != 0;
  }
  // Five standard deviations of 32,000 draws.
  CHECK_NEAR(static_cast<double>(kept) / 32000, 0.75, 5 * std::sqrt(0.25 * 0.75 / 32000));
  torch::autograd::backward({y}, {at::ones({500, 64})});
  CHECK(values(x.grad()) == values(y));
}

TEST("models: an abort flag set between forward and backward stops the backward pass") {
  AbortFlag abort = std::make_shared<std::atomic<bool>>(false);
  at::Tensor x = at::ones({2, 3});
  x.set_requires_grad(true);
  at::Tensor y = add_dropped(x, x, {}, abort);
  abort->store(true);
  CHECK_THROWS(torch::autograd::backward({y}, {at::ones({2, 3})}), Aborted, "stopped");
}

TEST("models: of spans, the rows from the first that is wanted to the last, where they stand") {
  const SpanList all({{0, 5, 0, 5, 7}, {5, 3, 5, 3, 8}, {8, 4, 0, 0, 0, 20, 4}, {12, 1, 3, 2, 0, 30, 6}});
  const WantedRows wanted(all, {1, 3, 9, 10, 12});
  CHECK((wanted.rows == std::vector<int32_t>{1, 2, 3, 9, 10, 12}));
  CHECK((wanted.chosen == std::vector<int32_t>{0, 2, 3, 4, 5}));
  CHECK_EQUAL(wanted.spans.size(), 3u);
  const auto check = [&](size_t i, int64_t start, int64_t queries, int64_t keys, int64_t prefix) {
    const AttentionSpan& span = wanted.spans[i];
    CHECK_EQUAL(span.query_start, start);
    CHECK_EQUAL(span.query_length, queries);
    CHECK_EQUAL(span.key_length, keys);
    CHECK_EQUAL(span.prefix_length, prefix);
  };
  // Of five queries the second to the fourth, which do not see the fifth key.
  check(0, 0, 3, 4, 0);
  CHECK_EQUAL(wanted.spans[0].record, 7u);
  check(1, 3, 2, 0, 3);
  check(2, 5, 1, 2, 6);
}
