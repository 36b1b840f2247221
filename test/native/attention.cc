// Attention against a reference that is slow, in double precision and written from the definition; its gradients are
// finite differences of it.
#include "kernels/attention.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <limits>
#include <random>
#include <stdexcept>

#include "check.h"

using namespace rkif;

namespace {

struct Problem {
  AttentionShape shape;
  std::vector<AttentionSpan> spans;
  int64_t query_rows;
  int64_t key_rows;
  int64_t reach;  // 0: no bias
  AttentionDropout dropout;
  int64_t prefix_rows = 0;  // the last of k and v: what the spans' prefixes refer to
};

template <typename Number>
struct Inputs {
  std::vector<Number> q, k, v, table;
};

std::vector<float> normal(size_t n, float deviation, std::mt19937& generator) {
  std::normal_distribution<float> distribution(0, deviation);
  std::vector<float> x(n);
  for (float& value : x) value = distribution(generator);
  return x;
}

Inputs<float> random_inputs(const Problem& p, uint32_t seed) {
  std::mt19937 generator(seed);
  Inputs<float> in;
  in.q = normal(p.query_rows * p.shape.query_stride, 0.7f, generator);
  in.k = normal((p.key_rows + p.prefix_rows) * p.shape.key_stride, 0.7f, generator);
  in.v = normal((p.key_rows + p.prefix_rows) * p.shape.value_stride, 1.0f, generator);
  if (p.reach > 0) in.table = normal(p.shape.heads * (2 * p.reach - 1), 1.0f, generator);
  return in;
}

Inputs<double> widened(const Inputs<float>& in) {
  auto wide = [](const std::vector<float>& x) { return std::vector<double>(x.begin(), x.end()); };
  return {wide(in.q), wide(in.k), wide(in.v), wide(in.table)};
}

// out(i) = sum_j softmax_j(scale q_i . k_j + bias) mask_ij / (1 - rate) v_j
void reference(const Problem& p, const Inputs<double>& in, std::vector<double>& out, std::vector<double>* log_sum_exp) {
  const AttentionShape& s = p.shape;
  out.assign(p.query_rows * s.query_stride, 0);
  if (log_sum_exp != nullptr) log_sum_exp->assign(s.heads * p.query_rows, 0);
  for (const AttentionSpan& span : p.spans) {
    for (int64_t h = 0; h < s.heads; h++) {
      for (int64_t i = 0; i < span.query_length; i++) {
        int64_t position = s.causal ? span.keys() - span.query_length + i : i;
        int64_t seen = s.causal ? position + 1 : span.keys();
        int64_t first = s.window == 0 ? 0 : std::max<int64_t>(0, position + 1 - s.window);
        auto row = [&](int64_t j) {
          return j < span.prefix_length ? p.key_rows + span.prefix_start + j : span.key_start + j - span.prefix_length;
        };
        const double* q = &in.q[(span.query_start + i) * s.query_stride + h * s.head_size];
        std::vector<double> e(seen);
        double sum = 0;
        for (int64_t j = first; j < seen; j++) {
          const double* k = &in.k[row(j) * s.key_stride + h / s.group() * s.head_size];
          double score = 0;
          for (int64_t c = 0; c < s.head_size; c++) score += q[c] * k[c];
          score *= s.scale;
          if (p.reach > 0) score += in.table[h * (2 * p.reach - 1) + j - position + p.reach - 1];
          sum += e[j] = std::exp(score);
        }
        if (log_sum_exp != nullptr) (*log_sum_exp)[h * p.query_rows + span.query_start + i] = std::log(sum);
        DropoutRow key = attention_dropout_row(p.dropout.site_key, span.record, h, position);
        for (int64_t j = first; j < seen; j++) {
          if (!dropout_keeps(key, j, dropout_threshold(p.dropout.rate))) continue;
          for (int64_t c = 0; c < s.head_size; c++) {
            out[(span.query_start + i) * s.query_stride + h * s.head_size + c] +=
                e[j] / sum / (1 - p.dropout.rate) * in.v[row(j) * s.value_stride + h / s.group() * s.head_size + c];
          }
        }
      }
    }
  }
}

struct Result {
  std::vector<float> out, log_sum_exp;
  Inputs<float> grad;
};

// `start`: what the accumulated gradients hold before.
Result run(const Problem& p, const Inputs<float>& in, const std::vector<float>& grad_out, float start = 0) {
  Result r;
  r.out.assign(in.q.size(), 0);
  r.log_sum_exp.assign(p.shape.heads * p.query_rows, 0);
  OffsetBias bias{p.reach > 0 ? in.table.data() : nullptr, p.reach};
  AttentionPrefix prefix{in.k.data() + p.key_rows * p.shape.key_stride,
                         in.v.data() + p.key_rows * p.shape.value_stride};
  attention_forward(p.shape, p.spans, bias, p.dropout, in.q.data(), in.k.data(), in.v.data(), r.out.data(),
                    r.log_sum_exp.data(), p.query_rows, prefix);
  if (grad_out.empty()) return r;
  r.grad.q.assign(in.q.size(), 0);
  r.grad.k.assign(in.k.size(), start);
  r.grad.v.assign(in.v.size(), start);
  r.grad.table.assign(in.table.size(), start);
  attention_backward(p.shape, p.spans, bias, p.dropout, in.q.data(), in.k.data(), in.v.data(), r.out.data(),
                     r.log_sum_exp.data(), p.query_rows, grad_out.data(), r.grad.q.data(), r.grad.k.data(),
                     r.grad.v.data(), p.reach > 0 ? r.grad.table.data() : nullptr);
  return r;
}

void check_forward(const Problem& p, double tolerance = 2e-6) {
  Inputs<float> in = random_inputs(p, 1);
  Result r = run(p, in, {});
  std::vector<double> out, lse;
  reference(p, widened(in), out, &lse);
  for (size_t i = 0; i < out.size(); i++) CHECK_NEAR(r.out[i], out[i], tolerance * (1 + std::abs(out[i])));
  for (size_t i = 0; i < lse.size(); i++) CHECK_NEAR(r.log_sum_exp[i], lse[i], tolerance * (1 + std::abs(lse[i])));
}

// Compares the gradient of sum(grad_out * out) with central differences, at every `every`-th element of each input.
void check_backward(const Problem& p, size_t every, double tolerance = 1e-5) {
  Inputs<float> in = random_inputs(p, 2);
  std::mt19937 generator(3);
  std::vector<float> grad_out = normal(in.q.size(), 1.0f, generator);
  Result r = run(p, in, grad_out);
  Inputs<double> wide = widened(in);
  std::vector<double> out;
  auto loss = [&] {
    reference(p, wide, out, nullptr);
    double sum = 0;
    for (size_t i = 0; i < out.size(); i++) sum += out[i] * grad_out[i];
    return sum;
  };
  auto compare = [&](std::vector<double>& x, const std::vector<float>& grad) {
    for (size_t i = 0; i < x.size(); i += every) {
      const double step = 1e-5, value = x[i];
      x[i] = value + step;
      double above = loss();
      x[i] = value - step;
      double below = loss();
      x[i] = value;
      double expected = (above - below) / (2 * step);
      CHECK_NEAR(grad[i], expected, tolerance * (1 + std::abs(expected)));
    }
  };
  compare(wide.q, r.grad.q);
  compare(wide.k, r.grad.k);
  compare(wide.v, r.grad.v);
  compare(wide.table, r.grad.table);
}

AttentionShape shape(int64_t heads, int64_t head_size, bool causal, float scale = 1, int64_t extra = 0) {
  int64_t width = heads * head_size;
  return {heads, head_size, width + extra, width + 2 * extra, width + 3 * extra, scale, causal};
}

// Sequences end to end that attend to themselves.
Problem self_attention(AttentionShape s, const std::vector<int64_t>& lengths, bool bias, double rate) {
  Problem p{s, {}, 0, 0, 0, {rate, 77}};
  for (int64_t length : lengths) {
    p.spans.push_back({p.query_rows, length, p.query_rows, length, static_cast<uint32_t>(100 + p.spans.size())});
    p.query_rows += length;
    if (bias) p.reach = std::max(p.reach, length);
  }
  p.key_rows = p.query_rows;
  return p;
}

// Spans 0 and 2 share the first 9 keys, span 1 has keys that overlap theirs, span 3 has its own.
Problem shared_keys(bool causal) {
  return {shape(2, 10, causal, 0.5f, 3),
          {{0, 4, 0, 9, 5}, {4, 3, 6, 6, 6}, {7, 5, 0, 9, 7}, {12, 1, 12, 3, 8}},
          13,
          15,
          9,
          {0.3, 42}};
}

bool same(const std::vector<float>& a, const std::vector<float>& b) { return a == b; }
bool same(const Result& a, const Result& b) {
  return same(a.out, b.out) && same(a.log_sum_exp, b.log_sum_exp) && same(a.grad.q, b.grad.q) &&
         same(a.grad.k, b.grad.k) && same(a.grad.v, b.grad.v) && same(a.grad.table, b.grad.table);
}

}  // namespace

TEST("attention: forward equals the definition, for all kinds of shapes") {
  for (int64_t head_size : {1, 10, 14, 16, 32, 36, 64, 80}) {
    for (bool causal : {false, true}) {
      for (double rate : {0.0, 0.2}) {
        check_forward(self_attention(shape(3, head_size, causal, 0.4f, 5), {1, 2, 7, 16, 17, 33, 70}, !causal, rate));
      }
    }
  }
  check_forward(self_attention(shape(2, 64, true, 0.2f), {199, 48, 49, 97}, true, 0.1));
  check_forward(self_attention(shape(1, 16, false, 0.2f), {700}, true, 0.1), 5e-6);
}

TEST("attention: more or fewer queries than keys, and a cache's later queries") {
  // Cross-attention; then the last queries of longer sequences, one of them alone.
  check_forward({shape(2, 14, false), {{0, 5, 0, 3, 1}, {5, 2, 3, 40, 2}, {7, 1, 43, 21, 3}}, 8, 64, 0, {0.25, 9}});
  check_forward({shape(2, 14, true), {{0, 5, 0, 8, 1}, {5, 2, 8, 40, 2}, {7, 1, 48, 16, 3}}, 8, 64, 40, {0.25, 9}});
  check_forward({shape(2, 32, true), {{0, 1, 0, 64, 1}}, 1, 64, 64, {}});
  // A single query in seven heads that share keys as wide as the states behind them, more keys than a block.
  check_forward({{7, 96, 7 * 96, 96, 96, 0.1f, false, 1}, {{0, 1, 0, 120, 1}, {1, 1, 120, 3, 2}}, 2, 123, 0, {}});
}

TEST("attention: heads that share keys, and windows, forward and backward") {
  for (int64_t key_heads : {1, 2, 6}) {
    for (int64_t window : {0, 1, 5, 64}) {
      AttentionShape s{6, 10, 60 + 3, key_heads * 10 + 2, key_heads * 10 + 1, 0.4f, true, key_heads, window};
      check_forward(self_attention(s, {1, 4, 33, 70}, true, 0.1));
      check_backward(self_attention(s, {1, 4, 11}, false, 0.3), 7);
    }
  }
  // Later queries of longer sequences: the window counts from the query's own place.
  Problem later{{2, 16, 32, 16, 16, 0.3f, true, 1, 6}, {{0, 3, 0, 20, 1}, {3, 1, 20, 9, 2}}, 4, 29, 0, {0, 0}};
  check_forward(later);
  AttentionShape odd{6, 10, 60, 40, 40, 1, true, 4};
  Problem refused = self_attention(odd, {3}, false, 0);
  CHECK_THROWS(run(refused, random_inputs(refused, 1), {}), std::invalid_argument, "6 heads cannot share 4");
}

TEST("attention: keys of a prefix stand before a span's own") {
  // Two heads of keys, each for two heads of queries, or for five: a single query's are then laid out.
  for (const auto& [head_size, heads] : {std::array<int64_t, 2>{10, 4}, {16, 4}, {64, 4}, {10, 10}, {16, 10}}) {
    for (int64_t window : {0, 7}) {
      int64_t width = 2 * head_size;
      // Three spans behind one prefix, one of them a single query; one behind another prefix; one without.
      Problem p{{heads, head_size, heads * head_size, width, width, 0.3f, true, 2, window},
                {{0, 5, 0, 5, 1, 2, 40},
                 {5, 1, 5, 3, 2, 2, 40},
                 {6, 2, 8, 2, 3, 2, 40},
                 {8, 3, 10, 3, 4, 0, 1},
                 {11, 4, 13, 4, 5},
                 {15, 1, 17, 1, 6, 5, 20}},
                16,
                18,
                0,
                {0, 0}};
      p.prefix_rows = 42;
      check_forward(p);
    }
  }
  // Nothing but a prefix: the first queries of a generation, beside one that has got further.
  for (const auto& [head_size, heads] : {std::array<int64_t, 2>{10, 4}, {16, 4}, {10, 10}, {16, 10}}) {
    int64_t width = 2 * head_size;
    Problem p{{heads, head_size, heads * head_size, width, width, 0.3f, true, 2, 3},
              {{0, 5, 0, 0, 1, 2, 5}, {5, 1, 0, 0, 2, 7, 1}, {6, 1, 1, 2, 3, 8, 4}, {7, 2, 0, 0, 4, 12, 6}},
              9,
              3,
              0,
              {0, 0}};
    p.prefix_rows = 18;
    check_forward(p);
  }
  Problem p{{1, 4, 4, 4, 4, 1, true}, {{0, 1, 0, 1, 1, 0, 2}}, 1, 1, 0, {0, 0}};
  p.prefix_rows = 2;
  CHECK_THROWS(run(p, random_inputs(p, 1), std::vector<float>(4)), std::invalid_argument, "prefix");
}

TEST("attention: a sequence's later queries against a cache give what the whole sequence gives") {
  Problem whole = self_attention(shape(2, 16, true), {60}, true, 0.1);
  Inputs<float> in = random_inputs(whole, 4);
  Result expected = run(whole, in, {});
  for (int64_t count : {1, 2, 20}) {
    Problem later = whole;
    later.spans = {{60 - count, count, 0, 60, 100}};
    Result r = run(later, in, {});
    for (size_t i = (60 - count) * 32; i < r.out.size(); i++) CHECK_NEAR(r.out[i], expected.out[i], 1e-6);
  }
}

TEST("attention: backward equals finite differences") {
  check_backward(self_attention(shape(2, 10, false, 0.5f, 3), {1, 4, 7}, true, 0), 1);
  check_backward(self_attention(shape(2, 10, true, 0.5f, 3), {1, 4, 7}, true, 0.3), 1);
  check_backward({shape(2, 14, false), {{0, 5, 0, 3, 1}, {5, 2, 3, 9, 2}}, 7, 12, 0, {0.25, 9}}, 1);
  check_backward({shape(2, 6, true), {{0, 3, 0, 8, 1}, {3, 1, 8, 5, 2}}, 4, 13, 8, {0.25, 9}}, 1);
  // Several blocks of queries.
  check_backward(self_attention(shape(1, 32, true, 0.3f), {130, 20}, true, 0.1), 97);
  check_backward(self_attention(shape(1, 40, false, 0.3f), {130, 20}, true, 0.1), 97);
}

TEST("attention: spans that share keys add up their gradients, and leave the rows of none") {
  for (bool causal : {false, true}) {
    Problem p = shared_keys(causal);
    check_backward(p, 1);
    Inputs<float> in = random_inputs(p, 5);
    std::mt19937 generator(6);
    std::vector<float> grad_out = normal(in.q.size(), 1.0f, generator);
    Result from_zero = run(p, in, grad_out), from_two = run(p, in, grad_out, 2.0f);
    const std::vector<float>&zero = from_zero.grad.table, &two = from_two.grad.table;
    for (size_t i = 0; i < zero.size(); i++) CHECK_NEAR(two[i], zero[i] + 2, 1e-5);
    CHECK(same(from_zero.grad.q, from_two.grad.q));
    // Written where rows are some span's keys, and left where they are not.
    const auto check_keys = [&](std::vector<float> from_0, const std::vector<float>& from_2, int64_t stride) {
      std::vector<bool> keys(p.key_rows);
      for (const AttentionSpan& span : p.spans) {
        if (span.query_length == 0) continue;
        for (int64_t row = 0; row < span.key_length; row++) keys[span.key_start + row] = true;
      }
      const int64_t width = p.shape.heads / p.shape.group() * p.shape.head_size;
      for (int64_t i = 0; i < p.key_rows * stride; i++) {
        if (!keys[i / stride] || i % stride >= width) from_0[i] += 2;
      }
      CHECK(same(from_0, from_2));
    };
    check_keys(from_zero.grad.k, from_two.grad.k, p.shape.key_stride);
    check_keys(from_zero.grad.v, from_two.grad.v, p.shape.value_stride);
  }
}

TEST("attention: gradients of shared keys are summed in the order of the spans") {
  // Many spans of different lengths over the same keys: the same bits as one call a span, one after the other.
  Problem p{shape(2, 16, false), {}, 0, 60, 0, {0.1, 6}};
  for (uint32_t i = 0; i < 40; i++) {
    int64_t length = 1 + i * 7 % 11;
    p.spans.push_back({p.query_rows, length, i % 3, 50 + i % 5, i});
    p.query_rows += length;
  }
  Inputs<float> in = random_inputs(p, 15);
  std::mt19937 generator(16);
  std::vector<float> grad_out = normal(in.q.size(), 1.0f, generator);
  Result together = run(p, in, grad_out);
  std::vector<float> grad_q(in.q.size()), grad_k(in.k.size()), grad_v(in.v.size());
  for (const AttentionSpan& span : p.spans) {
    std::vector<float> of_k(in.k.size()), of_v(in.v.size());
    attention_backward(p.shape, {span}, {}, p.dropout, in.q.data(), in.k.data(), in.v.data(), together.out.data(),
                       together.log_sum_exp.data(), p.query_rows, grad_out.data(), grad_q.data(), of_k.data(),
                       of_v.data(), nullptr);
    for (size_t i = 0; i < of_k.size(); i++) grad_k[i] += of_k[i];
    for (size_t i = 0; i < of_v.size(); i++) grad_v[i] += of_v[i];
  }
  CHECK(together.grad.q == grad_q);
  CHECK(together.grad.k == grad_k);
  CHECK(together.grad.v == grad_v);
}

TEST("attention: the same bits for any number of threads") {
  int before = at::get_num_threads();
  Problem shared = shared_keys(true);
  shared.shape = shape(8, 64, true);
  for (const Problem& p : {self_attention(shape(4, 32, false), {40, 3, 77, 120, 20}, true, 0.1), shared}) {
    Inputs<float> in = random_inputs(p, 7);
    std::mt19937 generator(8);
    std::vector<float> grad_out = normal(in.q.size(), 1.0f, generator);
    at::set_num_threads(1);
    Result one = run(p, in, grad_out);
    for (int threads : {2, 3, 8}) {
      at::set_num_threads(threads);
      for (int repeat = 0; repeat < 5; repeat++) CHECK(same(one, run(p, in, grad_out)));
    }
  }
  at::set_num_threads(before);
}

TEST("attention: a record's results are the same bits in any batch") {
  Problem together = self_attention(shape(2, 16, true), {30, 8, 51, 1}, true, 0.2);
  Inputs<float> in = random_inputs(together, 9);
  std::mt19937 generator(10);
  std::vector<float> grad_out = normal(in.q.size(), 1.0f, generator);
  Result expected = run(together, in, grad_out);
  for (const AttentionSpan& span : together.spans) {
    Problem alone = together;
    alone.spans = {{0, span.query_length, 0, span.key_length, span.record}};
    alone.query_rows = alone.key_rows = span.query_length;
    auto rows = [&](const std::vector<float>& x) {
      return std::vector<float>(x.begin() + span.query_start * 32,
                                x.begin() + (span.query_start + span.query_length) * 32);
    };
    Result r = run(alone, {rows(in.q), rows(in.k), rows(in.v), in.table}, rows(grad_out));
    CHECK(same(r.out, rows(expected.out)));
    CHECK(same(r.grad.q, rows(expected.grad.q)));
    CHECK(same(r.grad.k, rows(expected.grad.k)));
    CHECK(same(r.grad.v, rows(expected.grad.v)));
  }
}

TEST("attention: probabilities are right to 1e-6, from scores of any size") {
  // Beyond that, the difference to the largest score is rounded to fp32: half a unit in the last place of ln P, 6e-8
  // |ln P|. Keys of zero leave the bias as the score, values of one column each make the output the probabilities.
  const int64_t n = 64;
  for (float deviation : {0.1f, 3.0f, 30.0f}) {
    for (float shift : {0.0f, 5000.0f, -5000.0f}) {
      Problem p = self_attention(shape(1, n, false), {n}, true, 0);
      Inputs<float> in = random_inputs(p, 11);
      std::mt19937 generator(12);
      in.table = normal(2 * n - 1, deviation, generator);
      for (float& b : in.table) b += shift;
      in.k.assign(in.k.size(), 0);
      in.v.assign(in.v.size(), 0);
      for (int64_t j = 0; j < n; j++) in.v[j * n + j] = 1;
      Result r = run(p, in, {});
      std::vector<double> out;
      Inputs<double> wide = widened(in);
      for (double& b : wide.table) b -= shift;  // exact, and exp() of the reference stays finite
      reference(p, wide, out, nullptr);
      for (size_t i = 0; i < out.size(); i++) {
        if (out[i] > 1e-37) CHECK_NEAR(r.out[i] / out[i], 1, 1e-6 + 6e-8 * -std::log(out[i]));
        if (out[i] <= 1e-37) CHECK(r.out[i] >= 0 && r.out[i] < 2e-37);
      }
    }
  }
}

TEST("attention: products of bf16 operands, within their rounding of the definition") {
  auto narrow = [](Problem p) {
    p.shape.narrow = true;
    return p;
  };
  // Beside round numbers: odd head sizes, odd numbers of keys, several blocks of queries.
  for (const Problem& p : {self_attention(shape(2, 64, true, 0.1f), {199, 48, 49, 97, 1}, true, 0.1),
                           self_attention(shape(3, 13, false, 0.3f, 5), {1, 2, 7, 17, 33, 70}, false, 0.2),
                           shared_keys(true), shared_keys(false)}) {
    check_forward(narrow(p), 2e-2);
    const Inputs<float> in = random_inputs(p, 17);
    std::mt19937 generator(18);
    const std::vector<float> grad_out = normal(in.q.size(), 1.0f, generator);
    const Result wide = run(p, in, grad_out), found = run(narrow(p), in, grad_out);
    for (auto part : {&Inputs<float>::q, &Inputs<float>::k, &Inputs<float>::v, &Inputs<float>::table}) {
      double difference = 0, size = 0;
      for (size_t i = 0; i < (wide.grad.*part).size(); i++) {
        const double expected = (wide.grad.*part)[i], error = (found.grad.*part)[i] - expected;
        difference += error * error;
        size += expected * expected;
      }
      CHECK(std::sqrt(difference) <= 1e-2 * std::sqrt(size));
    }
    const int before = at::get_num_threads();
    for (int threads : {1, 3}) {
      at::set_num_threads(threads);
      CHECK(same(found, run(narrow(p), in, grad_out)));
    }
    at::set_num_threads(before);
  }
}

TEST("attention: a value that is not a number is passed on, not hidden") {
  for (int64_t queries : {1, 20}) {
    Problem p{shape(1, 16, false), {{0, queries, 0, 20, 0}}, queries, 20, 0, {}};
    Inputs<float> in = random_inputs(p, 13);
    in.k[5 * 16 + 3] = std::numeric_limits<float>::quiet_NaN();
    for (float x : run(p, in, {}).out) CHECK(std::isnan(x));
  }
}

TEST("attention: impossible spans are refused") {
  Problem p = self_attention(shape(1, 4, true), {5}, true, 0);
  Inputs<float> in = random_inputs(p, 14);
  auto with = [&](AttentionSpan span, int64_t reach, double rate) {
    Problem wrong = p;
    wrong.spans = {span};
    wrong.reach = reach;
    wrong.dropout.rate = rate;
    return run(wrong, in, {});
  };
  CHECK_THROWS(with({0, 5, 0, 4, 0}, 5, 0), std::invalid_argument, "5 queries, more than its 4 keys");
  CHECK_THROWS(with({0, 1, 0, 0, 0}, 5, 0), std::invalid_argument, "span 0 has no keys");
  CHECK_THROWS(with({0, 5, 0, 5, 0}, 4, 0), std::invalid_argument, "reaches position 4, the bias table only 3");
  CHECK_THROWS(with({0, 5, 0, 5, 0}, 5, 1), std::invalid_argument, "dropout rate is 1.0");
}
