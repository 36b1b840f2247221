#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/kernels.h"
#include "kernels/mask_rows.h"
#include "kernels/residual.h"
#include "kernels/rotate.h"
#include "kernels/stored_type.h"

namespace rkif {
namespace {

bool any_nan(const FusionMask& mask) {
  return std::any_of(mask.thresholds, mask.thresholds + mask.threshold_count, [](float t) { return std::isnan(t); });
}

class CpuKernels final : public Kernels {
 public:
  void difference(int64_t n, const float* a, const float* b, float* out) const override {
    rkif::difference(n, a, b, out);
  }
  void add_scaled(int64_t n, float* x, const float* y, float scale) const override { rkif::add_scaled(n, x, y, scale); }
  void add_product(int64_t n, float* x, const float* a, const float* b, float scale) const override {
    rkif::add_product(n, x, a, b, scale);
  }
  void scale(int64_t n, float* x, float factor) const override { rkif::scale(n, x, factor); }
  void product(int64_t n, const float* a, const float* b, float* out) const override { rkif::product(n, a, b, out); }
  void norm(int64_t n, const float* x, Norm* result) const override { *result = rkif::norm(n, x); }

  void add_losses(int64_t n, const float* log_probabilities, StepReport* report) const override {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum -= log_probabilities[i];
    report->loss_sum += sum;
  }
  void update_importance(int64_t n, const float* weights, const float* gradients, const uint8_t* mask,
                         ImportanceDecay decay, float* importance, float* uncertainty) const override {
    rkif::update_importance(n, weights, gradients, mask, decay, importance, uncertainty);
  }
  void adamw_step(int64_t n, float* weights, const float* gradients, float* m, float* v, double max_norm,
                  const AdamW& options, const ImportanceUpdate* importance, const StepReport* after,
                  StepReport* report) const override {
    check_update(options);
    AdamW numbered = options;
    numbered.update = count_update(options.update, after, *report);
    if (!report->applied) return;
    rkif::adamw_step(n, weights, gradients, m, v, clip_factor(report->gradient.norm, max_norm), numbered, importance);
  }

  void quantiles(int64_t n, const float* values, const std::vector<double>& at, double* results) const override {
    const std::vector<double> found = rkif::quantiles(n, values, at);
    std::copy(found.begin(), found.end(), results);
  }
  void mask_by_quantile(const std::vector<int64_t>& lengths, const float* values, double at, Compare compare,
                        uint8_t* mask, float* thresholds) const override {
    for (int64_t n : lengths) {
      *thresholds = quantile(n, values, at);
      mask_by_threshold(n, values, *thresholds++, compare, mask);
      values += n;
      mask += n;
    }
  }
  void mask_top_k(const std::vector<TopK>& parts, const float* values, uint8_t* mask,
                  float* thresholds) const override {
    for (const auto& [n, k] : parts) {
      *thresholds++ = rkif::mask_top_k(n, values, k, mask);
      values += n;
      mask += n;
    }
  }
  void count_bits(int64_t n, const uint8_t* mask, int64_t* result) const override {
    *result = std::accumulate(mask, mask + n, int64_t{0});
  }
  void mask_rows(const std::vector<RowMatrix>& matrices, float* values, const float* sums, double at) const override {
    for (const auto& [rows, columns] : matrices) {
      rkif::mask_rows(rows, columns, values, sums, at);
      values += rows * columns;
      sums += rows;
    }
  }
  void fuse(int64_t n, const float* start, const float* tau_in, const float* tau_out, const FusionMask& in,
            const FusionMask& out, const FusionTable& table, float* parameters, int64_t* counts) const override {
    if (any_nan(in) || any_nan(out)) {
      if (parameters != start) std::copy(start, start + n, parameters);
      std::fill(counts, counts + FusionCounts().size(), -1);
      return;
    }
    const FusionCounts found = rkif::fuse(n, start, tau_in, tau_out, in.bits, out.bits, table, parameters);
    std::copy(found.begin(), found.end(), counts);
  }
  void fuse_adaptive(int64_t n, const float* start, const float* tau_in, const float* tau_out, const float* score_in,
                     const float* score_out, float temperature, float* parameters, float* weight_in, float* weight_out,
                     int32_t* fused) const override {
    *fused = rkif::fuse_adaptive(n, start, tau_in, tau_out, score_in, score_out, temperature, parameters, weight_in,
                                 weight_out);
  }

  void dropout_rows(const MaskedMatrix& shape, const float* in, float* out) const override {
    rkif::dropout_rows(shape, in, out);
  }
  void add_residual(const MaskedMatrix& shape, const float* residual, Stored type, const void* x,
                    float* out) const override {
    in_stored_type(type, [&]<class T>(T*) { rkif::add_residual(shape, residual, static_cast<const T*>(x), out); });
  }
  void residual_gradient(const MaskedMatrix& shape, const float* g, Stored type, void* dx) const override {
    in_stored_type(type, [&]<class T>(T*) { rkif::residual_gradient(shape, g, static_cast<T*>(dx)); });
  }
  void activation_forward(Activation activation, const MaskedMatrix& shape, Stored type, const void* x,
                          const void* gate, void* out) const override {
    in_stored_type(type, [&]<class T>(T*) {
      rkif::activation_forward<T>(activation, shape, static_cast<const T*>(x), static_cast<const T*>(gate),
                                  static_cast<T*>(out));
    });
  }
  void activation_backward(Activation activation, const MaskedMatrix& shape, Stored type, const void* x,
                           const void* gate, const void* dout, void* dx, void* dgate) const override {
    in_stored_type(type, [&]<class T>(T*) {
      rkif::activation_backward<T>(activation, shape, static_cast<const T*>(x), static_cast<const T*>(gate),
                                   static_cast<const T*>(dout), static_cast<T*>(dx), static_cast<T*>(dgate));
    });
  }

  void rms_norm(int64_t rows, int64_t columns, const float* x, const float* weight, float epsilon, float* out,
                Bfloat16* rounded, float* inverse) const override {
    rkif::rms_norm(rows, columns, x, weight, epsilon, out, rounded, inverse);
  }
  void rms_norm_gradient(int64_t rows, int64_t columns, const float* x, const float* weight, const float* inverse,
                         Stored type, const Parts<void>& g, float* dx) const override {
    in_stored_type(
        type, [&]<class T>(T*) { rkif::rms_norm_gradient(rows, columns, x, weight, inverse, parts_of<T>(g), dx); });
  }
  void add_rms_norm_weight_gradient(int64_t rows, int64_t columns, const float* x, const float* inverse, const float* g,
                                    float* dweight) const override {
    rkif::add_rms_norm_weight_gradient(rows, columns, x, inverse, g, dweight);
  }
  void layer_norm(int64_t rows, int64_t columns, const float* x, const float* weight, const float* bias, float epsilon,
                  float* out, Moments* moments) const override {
    rkif::layer_norm(rows, columns, x, weight, bias, epsilon, out, moments);
  }
  void layer_norm_gradient(int64_t rows, int64_t columns, const float* x, const float* weight, const Moments* moments,
                           const float* g, float* dx) const override {
    rkif::layer_norm_gradient(rows, columns, x, weight, moments, g, dx);
  }
  void add_layer_norm_parameter_gradients(int64_t rows, int64_t columns, const float* x, const Moments* moments,
                                          const float* g, float* dweight, float* dbias) const override {
    rkif::add_layer_norm_parameter_gradients(rows, columns, x, moments, g, dweight, dbias);
  }

  void rotate_rows(int64_t rows, int64_t heads, int64_t head_size, const float* x, const int32_t* positions,
                   const float* cosine, const float* sine, bool inverse, float* out) const override {
    rkif::rotate_rows(rows, heads, head_size, x, positions, cosine, sine, inverse, out);
  }
  void mean_unit_vectors(const PackedTexts& texts, int64_t columns, const float* states, float* out,
                         float* lengths) const override {
    rkif::mean_unit_vectors(texts, columns, states, out, lengths);
  }
  void mean_unit_vectors_gradient(const PackedTexts& texts, int64_t columns, const float* out, const float* lengths,
                                  const float* g, float* dstates) const override {
    rkif::mean_unit_vectors_gradient(texts, columns, out, lengths, g, dstates);
  }

  void add_rows(int64_t count, int64_t columns, const int32_t* ids, const float* rows, float* into) const override {
    rkif::add_rows(count, columns, ids, rows, into);
  }

  void sum_parts(int64_t n, Stored type, const Parts<void>& parts, float* out) const override {
    in_stored_type(type, [&]<class T>(T*) { rkif::sum_parts(n, parts_of<T>(parts), out); });
  }
  void low_rank_forward(int64_t rows, const LowRank& layer, const float* x, float* y, float* hidden,
                        const Bfloat16* base) const override {
    rkif::low_rank_forward(rows, layer, x, y, hidden, base);
  }
  void low_rank_backward(int64_t rows, const LowRank& layer, const float* x, const float* hidden, const float* dy,
                         const LowRankGradients& into) const override {
    rkif::low_rank_backward(rows, layer, x, hidden, dy, into);
  }

  void attention_forward(const AttentionShape& shape, const DeviceSpans& spans, const OffsetBias& bias,
                         const AttentionDropout& dropout, const float* q, const float* k, const float* v, float* out,
                         float* log_sum_exp, int64_t query_rows, const AttentionPrefix& prefix) const override {
    rkif::attention_forward(shape, spans.host, bias, dropout, q, k, v, out, log_sum_exp, query_rows, prefix);
  }
  void attention_backward(const AttentionShape& shape, const DeviceSpans& spans, const OffsetBias& bias,
                          const AttentionDropout& dropout, const float* q, const float* k, const float* v,
                          const float* out, const float* log_sum_exp, int64_t query_rows, const float* grad_out,
                          float* grad_q, float* grad_k, float* grad_v, float* grad_bias) const override {
    rkif::attention_backward(shape, spans.host, bias, dropout, q, k, v, out, log_sum_exp, query_rows, grad_out, grad_q,
                             grad_k, grad_v, grad_bias);
  }
};

}  // namespace

const Kernels& cpu_kernels() {
  static const CpuKernels kernels;
  return kernels;
}

}  // namespace rkif
