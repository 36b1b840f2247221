#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <numeric>

#include "kernels/attention.h"
#include "kernels/attention_check.h"
#include "kernels/attention_heads.h"
#include "kernels/row_grain.h"

namespace rkif {
namespace {

// Multiply-adds below which another thread is not worth waking.
constexpr int64_t kThreadGrain = 1 << 16;

// Runs body(i) for i < count, the tasks of one span after the other, on as many threads as the work is worth. Which
// thread takes which task is open, so that long spans do not wait for each other; every task writes only what is its
// own.
template <typename Body>
void run_tasks(int64_t count, int64_t multiply_adds, const Body& body) {
  int64_t workers = std::min<int64_t>({count, at::get_num_threads(), 1 + multiply_adds / kThreadGrain});
  if (workers <= 1) {
    for (int64_t i = 0; i < count; i++) body(i);
    return;
  }
  std::atomic<int64_t> next{0};
  at::parallel_for(0, workers, 1, [&](int64_t, int64_t) {
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) body(i);
  });
}

int64_t pairs(const AttentionSpan& span) { return span.query_length * span.keys(); }

int64_t total_pairs(const std::vector<AttentionSpan>& spans) {
  return std::accumulate(spans.begin(), spans.end(), int64_t{0},
                         [](int64_t sum, const AttentionSpan& s) { return sum + pairs(s); });
}

// Spans in groups that share no keys, each group in the order given, so that a group's sums into grad_k and grad_v have
// one order.
std::vector<std::vector<size_t>> groups_by_keys(const std::vector<AttentionSpan>& spans) {
  std::vector<size_t> order(spans.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return spans[a].key_start < spans[b].key_start; });
  std::vector<std::vector<size_t>> groups;
  int64_t end = 0;
  for (size_t index : order) {
    const AttentionSpan& span = spans[index];
    if (groups.empty() || span.key_start >= end) groups.emplace_back();
    groups.back().push_back(index);
    end = std::max(end, span.key_start + span.key_length);
  }
  for (std::vector<size_t>& group : groups) std::sort(group.begin(), group.end());
  return groups;
}

// `size` columns from `column` on of a span's keys.
void clear_keys(const AttentionSpan& span, int64_t stride, int64_t column, int64_t size, float* gradient) {
  for (int64_t row = span.key_start; row < span.key_start + span.key_length; row++) {
    std::fill_n(gradient + row * stride + column, size, 0.0f);
  }
}

// One span's and head's gradient by offset, from -(last query position) to key_length - 1.
int64_t offsets(const AttentionSpan& span) { return span.query_length + span.key_length - 1; }

}  // namespace

void attention_forward(const AttentionShape& shape, const std::vector<AttentionSpan>& spans, const OffsetBias& bias,
                       const AttentionDropout& dropout, const float* q, const float* k, const float* v, float* out,
                       float* log_sum_exp, int64_t query_rows, const AttentionPrefix& prefix) {
  check_attention(shape, spans, bias, dropout);
  std::vector<size_t> order(spans.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return pairs(spans[a]) > pairs(spans[b]); });
  const int64_t key_heads = shape.heads / shape.group();
  const int64_t tasks = static_cast<int64_t>(spans.size()) * key_heads;
  const bool narrow = shape.narrow && multiplies_bfloat16();
  const ForwardPointers at{q, k, v, prefix, out, log_sum_exp, query_rows};
  run_tasks(tasks, 2 * total_pairs(spans) * shape.heads * shape.head_size, [&](int64_t task) {
    const AttentionSpan& span = spans[order[task / key_heads]];
    if (span.query_length == 0) return;
    (narrow ? forward_heads<NarrowOperands> : forward_heads<WideOperands>)(shape, span, task % key_heads, bias, dropout,
                                                                           at);
  });
}

void attention_backward(const AttentionShape& shape, const std::vector<AttentionSpan>& spans, const OffsetBias& bias,
                        const AttentionDropout& dropout, const float* q, const float* k, const float* v,
                        const float* out, const float* log_sum_exp, int64_t query_rows, const float* grad_out,
                        float* grad_q, float* grad_k, float* grad_v, float* grad_bias) {
  check_attention_backward(shape, spans, bias, dropout);
  std::vector<std::vector<size_t>> groups = groups_by_keys(spans);
  auto cost = [&](const std::vector<size_t>& group) {
    return std::accumulate(group.begin(), group.end(), int64_t{0},
                           [&](int64_t sum, size_t i) { return sum + pairs(spans[i]); });
  };
  std::stable_sort(groups.begin(), groups.end(), [&](const auto& a, const auto& b) { return cost(a) > cost(b); });

  // The bias is shared by all spans: each (span, head) has sums of its own, added up in the spans' order at the end.
  std::vector<int64_t> partial_start;
  std::vector<float> partial;
  if (grad_bias != nullptr) {
    int64_t size = 0;
    for (const AttentionSpan& span : spans) {
      partial_start.push_back(size);
      size += offsets(span) * shape.heads;
    }
    partial.resize(size);
  }

  // grad_out . out of every query and head. Row by row over all heads: head by head, every piece would
  // be a cache miss that the CPU does not foresee.
  std::vector<float> mean_grads(query_rows * shape.heads);
  at::parallel_for(0, query_rows, row_grain(shape.heads * shape.head_size), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      dot_heads(shape.heads, shape.head_size, grad_out + row * shape.query_stride, out + row * shape.query_stride,
                mean_grads.data() + row * shape.heads);
    }
  });

  const bool narrow = shape.narrow && multiplies_bfloat16();
  // Heads that share keys add to the same gradients: one task, in their order.
  const int64_t group_heads = shape.group(), key_heads = shape.heads / group_heads;
  const int64_t tasks = static_cast<int64_t>(groups.size()) * key_heads;
  run_tasks(tasks, 5 * total_pairs(spans) * shape.heads * shape.head_size, [&](int64_t task) {
    const int64_t first = task % key_heads * group_heads;
    const std::vector<size_t>& group = groups[task / key_heads];
    // Spans that share some of their keys: sums from the first on.
    const bool clears = group.size() > 1;
    for (size_t index : group) {
      if (!clears || spans[index].query_length == 0) continue;
      clear_keys(spans[index], shape.key_stride, task % key_heads * shape.head_size, shape.head_size, grad_k);
      clear_keys(spans[index], shape.value_stride, task % key_heads * shape.head_size, shape.head_size, grad_v);
    }
    for (size_t index : group) {
      const AttentionSpan& span = spans[index];
      if (span.query_length == 0) continue;
      for (int64_t head = first; head < first + group_heads; head++) {
        SpanHead part(shape, span, head, bias, dropout);
        float* sums = nullptr;
        if (grad_bias != nullptr) {
          sums = partial.data() + partial_start[index] + head * offsets(span) + part.first_position +
                 span.query_length - 1;
        }
        // A span's only query was not rounded in the forward pass, whose logarithm is read here.
        (narrow && span.query_length > 1
             ? backward_head<NarrowOperands>
             : backward_head<WideOperands>)(part,
                                            {q + part.query, k + part.key, v + part.value,
                                             log_sum_exp + head * query_rows + span.query_start, grad_out + part.query,
                                             mean_grads.data() + span.query_start * shape.heads + head,
                                             grad_q + part.query, grad_k + part.key, grad_v + part.value, sums,
                                             clears || head > first});
      }
    }
  });

  if (grad_bias == nullptr) return;
  for (size_t index = 0; index < spans.size(); index++) {
    const AttentionSpan& span = spans[index];
    if (span.query_length == 0) continue;
    const int64_t last_position = (shape.causal ? span.key_length : span.query_length) - 1;
    for (int64_t head = 0; head < shape.heads; head++) {
      const float* from = partial.data() + partial_start[index] + head * offsets(span);
      float* to = grad_bias + head * (2 * bias.reach - 1) + bias.reach - 1 - last_position;
      for (int64_t i = 0; i < offsets(span); i++) to[i] += from[i];
    }
  }
}

}  // namespace rkif
