#include "models/attention.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>

#include <optional>

#include "models/autograd.h"
#include "models/device.h"
#include "models/profile.h"

namespace rkif {
namespace {

AttentionShape shape_of(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionPlace& place) {
  return {place.heads,  q.size(1) / place.heads, q.stride(0),  k.stride(0),  v.stride(0),    place.scale,
          place.causal, place.key_heads,         place.window, place.narrow, place.row_heads};
}

OffsetBias bias_of(const at::Tensor& table, int64_t reach) {
  if (!table.defined()) return {};
  return {table.const_data_ptr<float>(), reach};
}

at::Tensor forward_values(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const OffsetBias& bias,
                          const AttentionPlace& place, float* log_sum_exp) {
  NamedWork work("rkif::attention");
  at::Tensor out = at::empty_like(q);
  AttentionPrefix prefix;
  if (place.prefix_keys.defined()) {
    TORCH_CHECK(place.prefix_keys.stride(0) == k.stride(0) && place.prefix_values.stride(0) == v.stride(0),
                "attention: a prefix has other strides than the keys and values behind it");
    prefix = {place.prefix_keys.const_data_ptr<float>(), place.prefix_values.const_data_ptr<float>()};
  }
  kernels_of(q).attention_forward(shape_of(q, k, v, place), place.spans->beside(q), bias, place.dropout,
                                  q.const_data_ptr<float>(), k.const_data_ptr<float>(), v.const_data_ptr<float>(),
                                  out.mutable_data_ptr<float>(), log_sum_exp, q.size(0), prefix);
  return out;
}

// Whether all of so many rows are keys of spans with queries; for spans that share none and follow their keys' order.
bool are_keys(const std::vector<AttentionSpan>& spans, int64_t rows) {
  int64_t next = 0;
  for (const AttentionSpan& span : spans) {
    if (span.query_length == 0 || span.key_start != next) return false;
    next += span.key_length;
  }
  return next == rows;
}

struct AttentionKept {
  at::Tensor q, k, v, out, log_sum_exp, table;
  int64_t reach;
  AttentionPlace place;
  bool shared;  // k and v are one, whose gradient is one sum
};

struct AttentionFunction : torch::autograd::Function<AttentionFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::optional<at::Tensor>& table, int64_t reach, const AttentionPlace& place) {
    at::Tensor bias = table ? values_of(*table) : at::Tensor();
    at::Tensor log_sum_exp = at::empty({place.heads, q.size(0)}, q.options());
    at::Tensor out = forward_values(q, k, v, bias_of(bias, reach), place, log_sum_exp.mutable_data_ptr<float>());
    AttentionKept kept{values_of(q),   values_of(k), values_of(v),
                       values_of(out), log_sum_exp,  bias,
                       reach,          place,        k.is_same(v) && reads_host_memory(q.device())};
    // There are no gradients through prefixes.
    kept.place.prefix_keys = kept.place.prefix_values = at::Tensor();
    keep(context, std::move(kept));
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    AttentionKept kept = take<AttentionKept>(context);
    NamedWork work("rkif::attention");
    at::Tensor dout = gradients[0].contiguous();
    at::Tensor dq = at::empty_like(kept.q);
    const DeviceSpans spans = kept.place.spans->beside(kept.q);
    const bool all = are_keys(spans.host, kept.k.size(0));
    at::Tensor dk = all ? at::empty_like(kept.k) : at::zeros_like(kept.k);
    at::Tensor dv = kept.shared ? dk : all ? at::empty_like(kept.v) : at::zeros_like(kept.v);
    at::Tensor dtable;
    if (kept.table.defined() && context->needs_input_grad(3)) dtable = at::zeros_like(kept.table);
    kernels_of(kept.q).attention_backward(
        shape_of(kept.q, kept.k, kept.v, kept.place), spans, bias_of(kept.table, kept.reach), kept.place.dropout,
        kept.q.const_data_ptr<float>(), kept.k.const_data_ptr<float>(), kept.v.const_data_ptr<float>(),
        kept.out.const_data_ptr<float>(), kept.log_sum_exp.const_data_ptr<float>(), kept.q.size(0),
        dout.const_data_ptr<float>(), dq.mutable_data_ptr<float>(), dk.mutable_data_ptr<float>(),
        dv.mutable_data_ptr<float>(), dtable.defined() ? dtable.mutable_data_ptr<float>() : nullptr);
    // The kernel computes all three in one pass; what nobody asked for is dropped.
    if (!context->needs_input_grad(0)) dq = at::Tensor();
    if (!context->needs_input_grad(1)) dk = at::Tensor();
    if (kept.shared || !context->needs_input_grad(2)) dv = at::Tensor();
    return {dq, dk, dv, dtable, {}, {}};
  }
};

}  // namespace

AttentionPlace attention_place(const Linear& queries, int64_t heads, const Spans& spans,
                               const AttentionDropout& dropout) {
  AttentionPlace place;
  place.heads = heads;
  place.narrow = queries.rounds();
  place.spans = spans;
  place.dropout = dropout;
  return place;
}

at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionBias& bias,
                  const AttentionPlace& place) {
  if (!tracks(q) && !tracks(k) && !tracks(v) && !tracks(bias.table)) {
    return forward_values(q, k, v, bias_of(bias.table, bias.reach), place, nullptr);
  }
  std::optional<at::Tensor> table;
  if (bias.table.defined()) table = bias.table;
  return AttentionFunction::apply(q, k, v, table, bias.reach, place);
}

}  // namespace rkif
