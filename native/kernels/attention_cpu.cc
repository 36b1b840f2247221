#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <numeric>

#include "kernels/attention.h"
#include "kernels/attention_check.h"
#include "kernels/attention_rows.h"
#include "kernels/matmul.h"
#include "kernels/workspace.h"

namespace rkif {
namespace {

// Queries are taken in blocks, so that their scores stay in the cache however many keys there are.
constexpr int64_t kQueryBlock = 48;
// Multiply-adds below which another thread is not worth waking.
constexpr int64_t kThreadGrain = 1 << 16;

// What a span's rows have in common in one head.
struct SpanHead {
  SpanHead(const AttentionShape& shape, const AttentionSpan& span, int64_t head, const OffsetBias& bias,
           const AttentionDropout& dropout)
      : shape(shape),
        span(span),
        head(head),
        first_position(shape.causal ? span.keys() - span.query_length : 0),
        query(span.query_start * shape.query_stride + head * shape.head_size),
        key(span.key_start * shape.key_stride + head / shape.group() * shape.head_size),
        value(span.key_start * shape.value_stride + head / shape.group() * shape.head_size),
        bias(bias.table == nullptr ? nullptr : bias.table + head * (2 * bias.reach - 1) + bias.reach - 1),
        site_key(dropout.site_key),
        threshold(dropout_threshold(dropout.rate)),
        keep_scale(static_cast<float>(1.0 / (1.0 - dropout.rate))) {}

  // Keys that the queries before `query_end` see.
  int64_t visible(int64_t query_end) const { return shape.causal ? first_position + query_end : span.keys(); }

  ScoreRow row(int64_t i, int64_t padded) const {
    int64_t position = first_position + i;
    int64_t first = shape.window == 0 ? 0 : std::max<int64_t>(0, position + 1 - shape.window);
    ScoreRow row{first, visible(i + 1), padded,    shape.scale, bias == nullptr ? nullptr : bias - position,
                 {},    threshold,      keep_scale};
    if (threshold != 0) {
      row.key =
          attention_dropout_row(site_key, span.record, static_cast<uint32_t>(head), static_cast<uint32_t>(position));
    }
    return row;
  }

  const AttentionShape& shape;
  const AttentionSpan& span;
  const int64_t head;
  const int64_t first_position;
  const int64_t query, key, value;  // where the span's part of the head begins in q, k, v
  const float* const bias;          // of offset 0
  const uint64_t site_key;
  const uint32_t threshold;
  const float keep_scale;
};

struct ForwardPointers {
  const float *q, *k, *v;
  AttentionPrefix prefix;
  float* out;
  float* log_sum_exp;  // null: not wanted
  int64_t query_rows;
};

// Where a span's keys or values of one head lie: `first` rows of the prefix, then the span's own.
struct KeyRows {
  const float* prefix;
  int64_t first;
  const float* own;
  int64_t count;
  int64_t stride;
};

KeyRows key_rows(const AttentionSpan& span, const float* prefix, const float* own, int64_t stride, int64_t column) {
  if (span.key_length == 0) {
    // Rows that lie together, as own ones do: nothing to join.
    return {nullptr, 0, prefix + span.prefix_start * stride + column, span.prefix_length, stride};
  }
  return {span.prefix_length == 0 ? nullptr : prefix + span.prefix_start * stride + column, span.prefix_length,
          own + span.key_start * stride + column, span.keys(), stride};
}

// All rows behind each other: as they lie where there is no prefix, copied to `scratch` otherwise.
KeyRows joined(const KeyRows& rows, int64_t size, float* scratch) {
  if (rows.first == 0) return rows;
  for (int64_t i = 0; i < rows.count; i++) {
    const float* from = i < rows.first ? rows.prefix + i * rows.stride : rows.own + (i - rows.first) * rows.stride;
    std::copy(from, from + size, scratch + i * size);
  }
  return {nullptr, 0, scratch, rows.count, size};
}

// One query against a cache of keys (generation): everything is read once, so nothing is packed.
void forward_one_query(const SpanHead& part, const KeyRows& k, const KeyRows& v, const ForwardPointers& at) {
  const AttentionShape& shape = part.shape;
  const int64_t size = shape.head_size, keys = k.count, own = keys - k.first, padded = padded_row(keys);
  const bool whole_vectors = size % kRowPadding == 0;
  Workspace& workspace = Workspace::of_this_thread();
  workspace.reset(padded + (whole_vectors ? 0 : packed_floats(keys, size) + keys * size), 3);
  float* scores = workspace.take(padded);
  const float* q = at.q + part.query;
  dot_rows(k.first, size, q, k.prefix, k.stride, scores);
  dot_rows(own, size, q, k.own, k.stride, scores + k.first);
  float lse = softmax_row(part.row(0, padded), scores);
  if (at.log_sum_exp != nullptr) at.log_sum_exp[part.head * at.query_rows + part.span.query_start] = lse;
  float* out = at.out + part.query;
  if (!whole_vectors) {
    float* packed = workspace.take(packed_floats(keys, size));
    KeyRows rows = joined(v, size, workspace.take(keys * size));
    pack(keys, size, rows.own, rows.stride, packed);
    matmul(1, size, keys, {scores, padded, 1}, packed_operand(packed, keys), out, shape.query_stride, false);
    return;
  }
  if (v.first > 0) {
    matmul(1, size, v.first, {scores, padded, 1}, row_major_operand(v.prefix, v.stride), out, shape.query_stride,
           false);
  }
  matmul(1, size, own, {scores + v.first, padded, 1}, row_major_operand(v.own, v.stride), out, shape.query_stride,
         v.first > 0);
}

// One span and all heads of queries that share the head `key_head` of keys and values.
void forward(const AttentionShape& shape, const AttentionSpan& span, int64_t key_head, const OffsetBias& bias,
             const AttentionDropout& dropout, const ForwardPointers& at) {
  const int64_t size = shape.head_size, stride = shape.query_stride, group = shape.group();
  const KeyRows k = key_rows(span, at.prefix.k, at.k, shape.key_stride, key_head * size);
  const KeyRows v = key_rows(span, at.prefix.v, at.v, shape.value_stride, key_head * size);
  if (span.query_length == 1) {
    for (int64_t head = key_head * group; head < (key_head + 1) * group; head++) {
      forward_one_query({shape, span, head, bias, dropout}, k, v, at);
    }
    return;
  }
  const int64_t queries = span.query_length, keys = k.count;
  const int64_t k_floats = packed_floats(size, keys), v_floats = packed_floats(keys, size);
  const int64_t score_floats = std::min(queries, kQueryBlock) * padded_row(keys);
  const int64_t joined_floats = k.first == 0 ? 0 : keys * size;
  Workspace& workspace = Workspace::of_this_thread();
  workspace.reset(k_floats + v_floats + score_floats + joined_floats, 4);
  float* k_transposed = workspace.take(k_floats);
  float* v_packed = workspace.take(v_floats);
  float* scores = workspace.take(score_floats);
  float* scratch = workspace.take(joined_floats);
  KeyRows rows = joined(k, size, scratch);
  pack_transposed(size, keys, rows.own, rows.stride, k_transposed);
  rows = joined(v, size, scratch);
  pack(keys, size, rows.own, rows.stride, v_packed);
  for (int64_t head = key_head * group; head < (key_head + 1) * group; head++) {
    const SpanHead part(shape, span, head, bias, dropout);
    const float* q = at.q + part.query;
    float* out = at.out + part.query;
    float* log_sum_exp = at.log_sum_exp == nullptr ? nullptr : at.log_sum_exp + head * at.query_rows + span.query_start;
    for (int64_t begin = 0; begin < queries; begin += kQueryBlock) {
      const int64_t end = std::min(begin + kQueryBlock, queries), count = end - begin;
      const int64_t visible = part.visible(end), padded = padded_row(visible);
      matmul(count, padded, size, {q + begin * stride, stride, 1}, packed_operand(k_transposed, size), scores, padded,
             false);
      for (int64_t i = 0; i < count; i++) {
        float lse = softmax_row(part.row(begin + i, padded), scores + i * padded);
        if (log_sum_exp != nullptr) log_sum_exp[begin + i] = lse;
      }
      matmul(count, size, visible, {scores, padded, 1}, packed_operand(v_packed, keys), out + begin * stride, stride,
             false);
    }
  }
}

struct BackwardPointers {
  const float *q, *k, *v, *out, *log_sum_exp, *grad_out;
  float *grad_q, *grad_k, *grad_v;
  float* grad_bias;  // of offset 0; null: not wanted
};

void backward(const SpanHead& part, const BackwardPointers& at) {
  const AttentionShape& shape = part.shape;
  const int64_t size = shape.head_size, stride = shape.query_stride;
  const int64_t queries = part.span.query_length, keys = part.span.key_length;
  const int64_t by_size = packed_floats(size, keys), by_keys = packed_floats(keys, size),
                by_queries = packed_floats(queries, size);
  const int64_t score_floats = std::min(queries, kQueryBlock) * padded_row(keys);
  Workspace& workspace = Workspace::of_this_thread();
  workspace.reset(2 * by_size + by_keys + 2 * by_queries + 2 * score_floats, 7);
  float* k_transposed = workspace.take(by_size);
  float* v_transposed = workspace.take(by_size);
  float* k_packed = workspace.take(by_keys);
  float* q_packed = workspace.take(by_queries);
  float* grad_out_packed = workspace.take(by_queries);
  float* scores = workspace.take(score_floats);
  float* grad = workspace.take(score_floats);
  pack_transposed(size, keys, at.k, shape.key_stride, k_transposed);
  pack_transposed(size, keys, at.v, shape.value_stride, v_transposed);
  pack(keys, size, at.k, shape.key_stride, k_packed);
  pack(queries, size, at.q, stride, q_packed);
  pack(queries, size, at.grad_out, stride, grad_out_packed);
  for (int64_t begin = 0; begin < queries; begin += kQueryBlock) {
    const int64_t end = std::min(begin + kQueryBlock, queries), rows = end - begin;
    const int64_t visible = part.visible(end), padded = padded_row(visible);
    const float* grad_out = at.grad_out + begin * stride;
    matmul(rows, padded, size, {at.q + begin * stride, stride, 1}, packed_operand(k_transposed, size), scores, padded,
           false);
    matmul(rows, padded, size, {grad_out, stride, 1}, packed_operand(v_transposed, size), grad, padded, false);
    for (int64_t i = 0; i < rows; i++) {
      const int64_t query = begin + i;
      float mean_grad = dot(size, grad_out + i * stride, at.out + query * stride);
      float* grad_bias = at.grad_bias == nullptr ? nullptr : at.grad_bias - (part.first_position + query);
      softmax_backward_row(part.row(query, padded), at.log_sum_exp[query], mean_grad, scores + i * padded,
                           grad + i * padded, grad_bias);
    }
    matmul(visible, size, rows, {scores, 1, padded}, packed_operand(grad_out_packed, queries, begin), at.grad_v,
           shape.value_stride, true);
    matmul(rows, size, visible, {grad, padded, 1}, packed_operand(k_packed, keys), at.grad_q + begin * stride, stride,
           false);
    matmul(visible, size, rows, {grad, 1, padded}, packed_operand(q_packed, queries, begin), at.grad_k,
           shape.key_stride, true);
  }
}

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
  const ForwardPointers at{q, k, v, prefix, out, log_sum_exp, query_rows};
  run_tasks(tasks, 2 * total_pairs(spans) * shape.heads * shape.head_size, [&](int64_t task) {
    const AttentionSpan& span = spans[order[task / key_heads]];
    if (span.query_length > 0) forward(shape, span, task % key_heads, bias, dropout, at);
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

  // Heads that share keys add to the same gradients: one task, in their order.
  const int64_t group_heads = shape.group(), key_heads = shape.heads / group_heads;
  const int64_t tasks = static_cast<int64_t>(groups.size()) * key_heads;
  run_tasks(tasks, 5 * total_pairs(spans) * shape.heads * shape.head_size, [&](int64_t task) {
    const int64_t first = task % key_heads * group_heads;
    for (size_t index : groups[task / key_heads]) {
      const AttentionSpan& span = spans[index];
      if (span.query_length == 0) continue;
      for (int64_t head = first; head < first + group_heads; head++) {
        SpanHead part(shape, span, head, bias, dropout);
        float* sums = nullptr;
        if (grad_bias != nullptr) {
          sums = partial.data() + partial_start[index] + head * offsets(span) + part.first_position +
                 span.query_length - 1;
        }
        backward(part, {q + part.query, k + part.key, v + part.value, out + part.query,
                        log_sum_exp + head * query_rows + span.query_start, grad_out + part.query, grad_q + part.query,
                        grad_k + part.key, grad_v + part.value, sums});
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
