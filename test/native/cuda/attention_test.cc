// The attention of the GPU against the CPU's.
#include "kernels/cuda/attention.h"

#include <algorithm>
#include <string>

#include "cuda_test.h"
#include "kernels/bfloat16.h"

using namespace rkif;
using namespace rkif::test;

namespace {

struct Problem {
  AttentionShape shape;
  std::vector<AttentionSpan> spans;
  int64_t reach = 0;  // 0: no bias
  double rate = 0;
  int64_t shift = 0;  // of q, k, v in their memory, as they may be parts of others

  int64_t query_rows() const {
    int64_t rows = 0;
    for (const AttentionSpan& span : spans) rows = std::max(rows, span.query_start + span.query_length);
    return rows;
  }
  int64_t key_rows() const {
    int64_t rows = 0;
    for (const AttentionSpan& span : spans) rows = std::max(rows, span.key_start + span.key_length);
    return rows;
  }
  int64_t prefix_rows() const {
    int64_t rows = 0;
    for (const AttentionSpan& span : spans) rows = std::max(rows, span.prefix_start + span.prefix_length);
    return rows;
  }
};

// q and out have query_stride, k key_stride, v value_stride.
struct Result {
  std::vector<float> out, log_sum_exp, grad_q, grad_k, grad_v, grad_bias;
};

struct Inputs {
  explicit Inputs(const Problem& p)
      : q(normal(p.shift + p.query_rows() * p.shape.query_stride, 1, 0.7f)),
        k(normal(p.shift + p.key_rows() * p.shape.key_stride, 2, 0.7f)),
        v(normal(p.shift + p.key_rows() * p.shape.value_stride, 3)),
        prefix_k(normal(p.prefix_rows() * p.shape.key_stride, 4, 0.7f)),
        prefix_v(normal(p.prefix_rows() * p.shape.value_stride, 5)),
        table(p.reach > 0 ? normal(p.shape.heads * (2 * p.reach - 1), 6) : std::vector<float>()),
        grad_out(normal(p.shift + p.query_rows() * p.shape.query_stride, 7)) {
    if (!p.shape.narrow) return;
    // What bfloat16 holds, so that only weights and gradients of scores are rounded.
    for (std::vector<float>* x : {&q, &k, &v, &prefix_k, &prefix_v, &grad_out}) {
      for (float& value : *x) {
        Bfloat16 narrow;
        store(value, narrow);
        value = widened(narrow);
      }
    }
  }
  std::vector<float> q, k, v, prefix_k, prefix_v, table, grad_out;
};

// What belongs to no span stays as it is: 0.5.
Result run(const Problem& p, const Inputs& in, bool gpu, bool backward) {
  Result r;
  const int64_t rows = p.query_rows(), shift = p.shift;
  r.out.assign(in.q.size(), 0.5f);
  r.log_sum_exp.assign(p.shape.heads * rows, 0.5f);
  const OffsetBias bias{p.reach > 0 ? in.table.data() : nullptr, p.reach};
  const AttentionDropout dropout{p.rate, 77};
  const AttentionPrefix prefix{in.prefix_k.data(), in.prefix_v.data()};
  const float *q = in.q.data() + shift, *k = in.k.data() + shift, *v = in.v.data() + shift;
  float* out = r.out.data() + shift;
  const cuda::Context context = cuda_context();
  const DeviceSpans spans{p.spans, p.spans.data()};
  // The CPU as the reference multiplies in fp32: where it rounded too, it would round at other places.
  AttentionShape exact = p.shape;
  exact.narrow = false;
  if (gpu) {
    cuda::attention_forward(context, p.shape, spans, bias, dropout, q, k, v, out, r.log_sum_exp.data(), rows, prefix);
  } else {
    attention_forward(exact, p.spans, bias, dropout, q, k, v, out, r.log_sum_exp.data(), rows, prefix);
  }
  if (!backward) return r;
  r.grad_q.assign(in.q.size(), 0.5f);
  r.grad_k.assign(in.k.size(), 0.5f);
  r.grad_v.assign(in.v.size(), 0.5f);
  r.grad_bias.assign(in.table.size(), 0.5f);
  float *grad_q = r.grad_q.data() + shift, *grad_k = r.grad_k.data() + shift, *grad_v = r.grad_v.data() + shift;
  float* grad_bias = p.reach > 0 ? r.grad_bias.data() : nullptr;
  const float* grad_out = in.grad_out.data() + shift;
  if (gpu) {
    cuda::attention_backward(context, p.shape, spans, bias, dropout, q, k, v, out, r.log_sum_exp.data(), rows, grad_out,
                             grad_q, grad_k, grad_v, grad_bias);
  } else {
    attention_backward(exact, p.spans, bias, dropout, q, k, v, out, r.log_sum_exp.data(), rows, grad_out, grad_q,
                       grad_k, grad_v, grad_bias);
  }
  return r;
}

void check_near(const char* what, const std::vector<float>& found, const std::vector<float>& expected,
                double tolerance) {
  CHECK_EQUAL(found.size(), expected.size());
  double square = 0;
  for (float x : expected) square += double{x} * x;
  const double scale = 1 + std::sqrt(square / static_cast<double>(std::max<size_t>(1, expected.size())));
  for (size_t i = 0; i < found.size(); ++i) {
    const double error = std::abs(double{found[i]} - expected[i]);
    if (!(error <= tolerance * std::max<double>(scale, std::abs(expected[i])))) {
      fail(__FILE__, __LINE__,
           std::string(what) + "[" + std::to_string(i) + "] is " + std::to_string(found[i]) + ", expected " +
               std::to_string(expected[i]));
    }
  }
}

constexpr double kExact = 4e-6;
constexpr double kNarrow = 8e-3;  // two units in the last place of bfloat16's 8 bits

// The logarithms of the sums, in which no weight is rounded, are exact in both variants.
void check_like_cpu(const Problem& p, bool backward = true, bool orders = false, double exact = kExact) {
  const double tolerance = p.shape.narrow ? kNarrow : exact;
  const Inputs in(p);
  const Result expected = run(p, in, false, backward);
  Result first;
  const auto check = [&] {
    const Result r = run(p, in, true, backward);
    check_near("out", r.out, expected.out, tolerance);
    check_near("log_sum_exp", r.log_sum_exp, expected.log_sum_exp, exact);
    check_near("grad_q", r.grad_q, expected.grad_q, tolerance);
    check_near("grad_k", r.grad_k, expected.grad_k, tolerance);
    check_near("grad_v", r.grad_v, expected.grad_v, tolerance);
    check_near("grad_bias", r.grad_bias, expected.grad_bias, tolerance);
    if (first.out.empty()) first = r;
    CHECK(same_bits(r.out, first.out) && same_bits(r.grad_q, first.grad_q) && same_bits(r.grad_k, first.grad_k) &&
          same_bits(r.grad_v, first.grad_v) && same_bits(r.grad_bias, first.grad_bias));
  };
  if (orders) {
    in_thread_orders(check);
  } else {
    check();
  }
}

AttentionShape shape(int64_t heads, int64_t head_size, bool causal, float scale = 1, int64_t extra = 0,
                     int64_t key_heads = 0, int64_t window = 0) {
  const int64_t width = heads * head_size, key_width = (key_heads == 0 ? heads : key_heads) * head_size;
  return {heads,  head_size, width + extra, key_width + 2 * extra, key_width + 3 * extra, scale,
          causal, key_heads, window};
}

// Sequences end to end that attend to themselves.
Problem self_attention(const AttentionShape& s, const std::vector<int64_t>& lengths, bool bias, double rate) {
  Problem p{s, {}, 0, rate};
  int64_t row = 0;
  for (int64_t length : lengths) {
    p.spans.push_back({row, length, row, length, static_cast<uint32_t>(100 + p.spans.size())});
    row += length;
    if (bias) p.reach = std::max(p.reach, length);
  }
  return p;
}

}  // namespace

TEST("cuda attention: as on the CPU, for heads of all sizes") {
  for (int64_t size : {1, 6, 10, 32, 36, 64, 80, 96, 128, 130, 256}) {
    check_like_cpu(self_attention(shape(2, size, size % 4 == 0, 0.3f, size % 3), {33, 1, 67}, size % 4 != 0, 0.2));
  }
}

TEST("cuda attention: as on the CPU in any order of the threads, with and without bias, dropout and causality") {
  for (bool causal : {false, true}) {
    for (bool bias : {false, true}) {
      Problem p = self_attention(shape(1, 24, causal, 0.4f, 1), {70, 2, 131}, bias, bias == causal ? 0.1 : 0.0);
      p.shift = 1;
      check_like_cpu(p, true, true);
    }
  }
}

TEST("cuda attention: more spans than lanes, empty ones among them") {
  std::vector<int64_t> lengths(70, 1);
  for (size_t i = 0; i < lengths.size(); ++i) lengths[i] = 1 + static_cast<int64_t>(i) * 7 % 5;
  Problem p = self_attention(shape(2, 8, true, 0.5f), lengths, true, 0.1);
  for (size_t i : {3, 40, 69}) p.spans[i].query_length = 0;
  check_like_cpu(p);
  p.spans.clear();
  check_like_cpu(p);
}

TEST("cuda attention: other numbers of queries than of keys, heads that share keys, windows") {
  check_like_cpu({shape(2, 14, false), {{0, 5, 0, 3, 1}, {5, 70, 3, 140, 2}, {75, 1, 143, 21, 3}}, 0, 0.25});
  check_like_cpu({shape(2, 14, true), {{0, 5, 0, 8, 1}, {5, 70, 8, 140, 2}, {75, 1, 148, 16, 3}}, 140, 0.25});
  for (int64_t window : {1, 5, 64, 100}) {
    check_like_cpu(self_attention(shape(4, 16, true, 0.3f, 0, 2, window), {150, 20}, window == 5, 0.1));
  }
  check_like_cpu({shape(3, 16, true, 0.3f, 2, 1, 40), {{0, 3, 0, 200, 1}, {3, 1, 200, 9, 2}}, 200});
}

TEST("cuda attention: single queries against many keys") {
  for (int64_t size : {10, 64, 100, 256}) {
    const AttentionShape s = shape(4, size, true, 0.2f, 1, 2, size == 100 ? 37 : 0);
    check_like_cpu({s, {{0, 1, 0, 1, 1}, {1, 1, 1, 31, 2}, {2, 1, 32, 150, 3}, {3, 1, 182, 33, 4}}, 150, 0.1}, true,
                   size == 10);
  }
}

TEST("cuda attention: keys of a prefix stand before a span's own") {
  for (int64_t window : {0, 7}) {
    check_like_cpu({shape(4, 10, true, 0.3f, 0, 2, window),
                    {{0, 5, 0, 5, 1, 2, 70},
                     {5, 1, 5, 3, 2, 2, 70},
                     {6, 3, 10, 3, 4, 0, 1},
                     {9, 4, 13, 4, 5},
                     {13, 5, 0, 0, 1, 2, 5}}},
                   false);
  }
}

TEST("cuda attention: narrow products, for heads of all sizes") {
  for (int64_t size : {1, 10, 32, 64, 80, 96, 128, 130, 256}) {
    Problem p = self_attention(shape(2, size, size % 4 == 0, 0.1f, size % 3), {33, 1, 67}, size % 4 != 0, 0.2);
    p.shape.narrow = true;
    check_like_cpu(p);
  }
}

TEST("cuda attention: narrow products in any order of the threads") {
  for (bool causal : {false, true}) {
    Problem p = self_attention(shape(1, 16, causal, 0.2f, 1), {70, 2, 131}, !causal, causal ? 0.0 : 0.1);
    p.shape.narrow = true;
    p.shift = 1;
    check_like_cpu(p, true, true);
  }
}

TEST("cuda attention: narrow products with heads that share keys, windows, and other queries than keys") {
  for (int64_t window : {5, 64}) {
    Problem p = self_attention(shape(4, 16, true, 0.3f, 0, 2, window), {150, 20}, window == 5, 0.1);
    p.shape.narrow = true;
    check_like_cpu(p);
  }
  // Keys that no query sees.
  AttentionShape windowed = shape(3, 16, true, 0.3f, 2, 1, 40);
  windowed.narrow = true;
  check_like_cpu({windowed, {{0, 3, 0, 200, 1}, {3, 1, 200, 9, 2}}, 200});
  // One query alone, and a prefix.
  AttentionShape s = shape(2, 14, true);
  s.narrow = true;
  check_like_cpu({s, {{0, 5, 0, 8, 1}, {5, 70, 8, 140, 2}, {75, 1, 148, 16, 3}}, 140, 0.25}, true);
  check_like_cpu({s, {{0, 5, 0, 8, 1, 3, 9}, {5, 70, 8, 140, 2}}}, false);
  s.causal = false;
  check_like_cpu({s, {{0, 5, 0, 3, 1}, {5, 70, 3, 140, 2}, {75, 1, 143, 21, 3}}, 140, 0.25}, true);
}

TEST("cuda attention: narrow products of prompts that stand in a store, as of the same rows of their own") {
  for (int64_t size : {14, 64, 130}) {
    AttentionShape s = shape(4, size, true, 0.3f, 2, 2, size == 64 ? 50 : 0);
    s.narrow = true;
    // Prompts at places of the store in another order than their queries, and behind them one that has no store.
    const Problem stored{
        s, {{0, 70, 0, 0, 1, 9, 70}, {70, 5, 0, 0, 2, 2, 5}, {75, 131, 0, 0, 3, 100, 131}, {206, 40, 0, 40, 4}}};
    check_like_cpu(stored, false, size == 14);
    const Problem own{s, {{0, 70, 9, 70, 1}, {70, 5, 2, 5, 2}, {75, 131, 100, 131, 3}, {206, 40, 240, 40, 4}}};
    const Inputs in(stored);
    Inputs joined(own);
    joined.q = in.q;
    const auto place = [](const std::vector<float>& from, std::vector<float>& to, int64_t row, int64_t stride) {
      std::copy(from.begin(), from.end(), to.begin() + row * stride);
    };
    place(in.prefix_k, joined.k, 0, s.key_stride);
    place(in.prefix_v, joined.v, 0, s.value_stride);
    place(in.k, joined.k, 240, s.key_stride);
    place(in.v, joined.v, 240, s.value_stride);
    const Result found = run(stored, in, true, false), expected = run(own, joined, true, false);
    CHECK(same_bits(found.out, expected.out) && same_bits(found.log_sum_exp, expected.log_sum_exp));
    // The ends of prompts alone, whose other keys were there before.
    const Problem ends{s, {{0, 30, 0, 0, 1, 9, 70}, {30, 6, 0, 0, 3, 100, 131}, {36, 3, 0, 3, 4}}};
    check_like_cpu(ends, false);
    if (s.window == 0) {
      Inputs of_ends(ends);
      of_ends.prefix_k = in.prefix_k;
      of_ends.prefix_v = in.prefix_v;
      const auto at = [&](int64_t row) { return in.q.begin() + row * s.query_stride; };
      std::copy(at(40), at(70), of_ends.q.begin());
      std::copy(at(200), at(206), of_ends.q.begin() + 30 * s.query_stride);
      const Result end = run(ends, of_ends, true, false);
      const auto rows = [&](const Result& r, int64_t from, int64_t to) {
        return std::vector<float>(r.out.begin() + from * s.query_stride, r.out.begin() + to * s.query_stride);
      };
      CHECK(same_bits(rows(end, 0, 30), rows(found, 40, 70)) && same_bits(rows(end, 30, 36), rows(found, 200, 206)));
    }
    // Rows that grow and others that go on from a prompt, in the same call.
    check_like_cpu({s, {{0, 1, 0, 3, 1, 9, 70}, {1, 66, 0, 0, 2, 80, 66}, {67, 6, 3, 6, 3, 9, 20}}}, false);
  }
}

TEST("cuda attention: scores of any size, and values that are no numbers") {
  Problem p = self_attention(shape(1, 16, false, 30.0f), {70}, true, 0);
  check_like_cpu(p, false, false, 1e-4);
  Inputs in(p);
  in.k[5 * 16 + 3] = kNaN;
  for (bool narrow : {false, true}) {
    p.shape.narrow = narrow;
    for (float x : run(p, in, true, false).out) CHECK(std::isnan(x));
  }
}

TEST("cuda attention: impossible calls are refused") {
  Problem p = self_attention(shape(1, 4, true), {5}, true, 0);
  const Inputs in(p);
  const auto with = [&](AttentionSpan span, int64_t reach, double rate, int64_t size = 4) {
    Problem wrong = p;
    wrong.spans = {span};
    wrong.reach = reach;
    wrong.rate = rate;
    wrong.shape.head_size = size;
    return run(wrong, in, true, true);
  };
  CHECK_THROWS(with({0, 5, 0, 4, 0}, 5, 0), std::invalid_argument, "5 queries, more than its 4 keys");
  CHECK_THROWS(with({0, 1, 0, 0, 0}, 5, 0), std::invalid_argument, "span 0 has no keys");
  CHECK_THROWS(with({0, 5, 0, 5, 0}, 4, 0), std::invalid_argument, "reaches position 4, the bias table only 3");
  CHECK_THROWS(with({0, 5, 0, 5, 0}, 5, 1), std::invalid_argument, "dropout rate is 1.0");
  CHECK_THROWS(with({0, 5, 0, 5, 0}, 5, 0, 260), std::invalid_argument, "heads of 260");
  Problem prefixed{shape(1, 4, true), {{0, 1, 0, 1, 1, 0, 2}}};
  CHECK_THROWS(run(prefixed, Inputs(prefixed), true, true), std::invalid_argument, "prefix");
}
