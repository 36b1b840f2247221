#include "kernels/cuda/cuda_kernels.h"

#include "kernels/cuda/activation.h"
#include "kernels/cuda/adamw.h"
#include "kernels/cuda/add_rows.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/dropout.h"
#include "kernels/cuda/fuse.h"
#include "kernels/cuda/importance.h"
#include "kernels/cuda/low_rank.h"
#include "kernels/cuda/norms.h"
#include "kernels/cuda/pooling.h"
#include "kernels/cuda/residual.h"
#include "kernels/cuda/rotate.h"
#include "kernels/cuda/select.h"
#include "kernels/cuda/sum.h"
#include "kernels/cuda/vector_ops.h"
#include "kernels/stored_type.h"

namespace rkif::cuda {
namespace {

class CudaKernels final : public Kernels {
 public:
  explicit CudaKernels(Context (*context)()) : context_(context) {}

  void difference(int64_t n, const float* a, const float* b, float* out) const override {
    cuda::difference(context_(), n, a, b, out);
  }
  void add_scaled(int64_t n, float* x, const float* y, float scale) const override {
    cuda::add_scaled(context_(), n, x, y, scale);
  }
  void add_product(int64_t n, float* x, const float* a, const float* b, float scale) const override {
    cuda::add_product(context_(), n, x, a, b, scale);
  }
  void scale(int64_t n, float* x, float factor) const override { cuda::scale(context_(), n, x, factor); }
  void product(int64_t n, const float* a, const float* b, float* out) const override {
    cuda::product(context_(), n, a, b, out);
  }
  void norm(int64_t n, const float* x, Norm* result) const override { cuda::norm(context_(), n, x, result); }
  void add_losses(int64_t n, const float* log_probabilities, StepReport* report) const override {
    cuda::add_losses(context_(), n, log_probabilities, report);
  }
  void update_importance(int64_t n, const float* weights, const float* gradients, const uint8_t* mask,
                         ImportanceDecay decay, float* importance, float* uncertainty) const override {
    cuda::update_importance(context_(), n, weights, gradients, mask, decay, importance, uncertainty);
  }
  void adamw_step(int64_t n, float* weights, const float* gradients, float* m, float* v, double max_norm,
                  const AdamW& options, const ImportanceUpdate* importance, const StepReport* after,
                  StepReport* report) const override {
    cuda::adamw_step(context_(), n, weights, gradients, m, v, max_norm, options, importance, after, report);
  }
  void quantiles(int64_t n, const float* values, const std::vector<double>& at, double* results) const override {
    cuda::quantiles(context_(), n, values, at, results);
  }
  void mask_by_quantile(const std::vector<int64_t>& lengths, const float* values, double at, Compare compare,
                        uint8_t* mask, float* thresholds) const override {
    cuda::mask_by_quantile(context_(), lengths, values, at, compare, mask, thresholds);
  }
  void mask_top_k(const std::vector<TopK>& parts, const float* values, uint8_t* mask,
                  float* thresholds) const override {
    cuda::mask_top_k(context_(), parts, values, mask, thresholds);
  }
  void count_bits(int64_t n, const uint8_t* mask, int64_t* result) const override {
    cuda::count_bits(context_(), n, mask, result);
  }
  void mask_rows(const std::vector<RowMatrix>& matrices, float* values, const float* sums, double at) const override {
    cuda::mask_rows(context_(), matrices, values, sums, at);
  }
  void fuse(int64_t n, const float* start, const float* tau_in, const float* tau_out, const FusionMask& in,
            const FusionMask& out, const FusionTable& table, float* parameters, int64_t* counts) const override {
    cuda::fuse(context_(), n, start, tau_in, tau_out, in, out, table, parameters, counts);
  }
  void fuse_adaptive(int64_t n, const float* start, const float* tau_in, const float* tau_out, const float* score_in,
                     const float* score_out, float temperature, float* parameters, float* weight_in, float* weight_out,
                     int32_t* fused) const override {
    cuda::fuse_adaptive(context_(), n, start, tau_in, tau_out, score_in, score_out, temperature, parameters, weight_in,
                        weight_out, fused);
  }
  void dropout_rows(const MaskedMatrix& shape, const float* in, float* out) const override {
    cuda::dropout_rows(context_(), shape, in, out);
  }
  void add_residual(const MaskedMatrix& shape, const float* residual, Stored type, const void* x,
                    float* out) const override {
    in_stored_type(
        type, [&]<class T>(T*) { cuda::add_residual(context_(), shape, residual, static_cast<const T*>(x), out); });
  }
  void residual_gradient(const MaskedMatrix& shape, const float* g, Stored type, void* dx) const override {
    in_stored_type(type, [&]<class T>(T*) { cuda::residual_gradient(context_(), shape, g, static_cast<T*>(dx)); });
  }
  void activation_forward(Activation activation, const MaskedMatrix& shape, Stored type, const void* x,
                          const void* gate, void* out) const override {
    in_stored_type(type, [&]<class T>(T*) {
      cuda::activation_forward(context_(), activation, shape, static_cast<const T*>(x), static_cast<const T*>(gate),
                               static_cast<T*>(out));
    });
  }
  void activation_backward(Activation activation, const MaskedMatrix& shape, Stored type, const void* x,
                           const void* gate, const void* dout, void* dx, void* dgate) const override {
    in_stored_type(type, [&]<class T>(T*) {
      cuda::activation_backward(context_(), activation, shape, static_cast<const T*>(x), static_cast<const T*>(gate),
                                static_cast<const T*>(dout), static_cast<T*>(dx), static_cast<T*>(dgate));
    });
  }
  void rms_norm(int64_t rows, int64_t columns, const float* x, const float* weight, float epsilon, float* out,
                Bfloat16* rounded, float* inverse) const override {
    cuda::rms_norm(context_(), rows, columns, x, weight, epsilon, out, rounded, inverse);
  }
  void rms_norm_gradient(int64_t rows, int64_t columns, const float* x, const float* weight, const float* inverse,
                         Stored type, const Parts<void>& g, float* dx) const override {
    in_stored_type(type, [&]<class T>(T*) {
      cuda::rms_norm_gradient(context_(), rows, columns, x, weight, inverse, parts_of<T>(g), dx);
    });
  }
  void add_rms_norm_weight_gradient(int64_t rows, int64_t columns, const float* x, const float* inverse, const float* g,
                                    float* dweight) const override {
    cuda::add_rms_norm_weight_gradient(context_(), rows, columns, x, inverse, g, dweight);
  }
  void layer_norm(int64_t rows, int64_t columns, const float* x, const float* weight, const float* bias, float epsilon,
                  float* out, Moments* moments) const override {
    cuda::layer_norm(context_(), rows, columns, x, weight, bias, epsilon, out, moments);
  }
  void layer_norm_gradient(int64_t rows, int64_t columns, const float* x, const float* weight, const Moments* moments,
                           const float* g, float* dx) const override {
    cuda::layer_norm_gradient(context_(), rows, columns, x, weight, moments, g, dx);
  }
  void add_layer_norm_parameter_gradients(int64_t rows, int64_t columns, const float* x, const Moments* moments,
                                          const float* g, float* dweight, float* dbias) const override {
    cuda::add_layer_norm_parameter_gradients(context_(), rows, columns, x, moments, g, dweight, dbias);
  }
  void rotate_rows(int64_t rows, int64_t heads, int64_t head_size, const float* x, const int32_t* positions,
                   const float* cosine, const float* sine, bool inverse, float* out) const override {
    cuda::rotate_rows(context_(), rows, heads, head_size, x, positions, cosine, sine, inverse, out);
  }
  void mean_unit_vectors(const PackedTexts& texts, int64_t columns, const float* states, float* out,
                         float* lengths) const override {
    cuda::mean_unit_vectors(context_(), texts, columns, states, out, lengths);
  }
  void mean_unit_vectors_gradient(const PackedTexts& texts, int64_t columns, const float* out, const float* lengths,
                                  const float* g, float* dstates) const override {
    cuda::mean_unit_vectors_gradient(context_(), texts, columns, out, lengths, g, dstates);
  }
  void add_rows(int64_t count, int64_t columns, const int32_t* ids, const float* rows, float* into) const override {
    cuda::add_rows(context_(), count, columns, ids, rows, into);
  }
  void sum_parts(int64_t n, Stored type, const Parts<void>& parts, float* out) const override {
    in_stored_type(type, [&]<class T>(T*) { cuda::sum_parts(context_(), n, parts_of<T>(parts), out); });
  }
  void low_rank_forward(int64_t rows, const LowRank& layer, const float* x, float* y, float* hidden,
                        const Bfloat16* base) const override {
    cuda::low_rank_forward(context_(), rows, layer, x, y, hidden, base);
  }
  void low_rank_backward(int64_t rows, const LowRank& layer, const float* x, const float* hidden, const float* dy,
                         const LowRankGradients& into) const override {
    cuda::low_rank_backward(context_(), rows, layer, x, hidden, dy, into);
  }
  void attention_forward(const AttentionShape& shape, const DeviceSpans& spans, const OffsetBias& bias,
                         const AttentionDropout& dropout, const float* q, const float* k, const float* v, float* out,
                         float* log_sum_exp, int64_t query_rows, const AttentionPrefix& prefix) const override {
    cuda::attention_forward(context_(), shape, spans, bias, dropout, q, k, v, out, log_sum_exp, query_rows, prefix);
  }
  void attention_backward(const AttentionShape& shape, const DeviceSpans& spans, const OffsetBias& bias,
                          const AttentionDropout& dropout, const float* q, const float* k, const float* v,
                          const float* out, const float* log_sum_exp, int64_t query_rows, const float* grad_out,
                          float* grad_q, float* grad_k, float* grad_v, float* grad_bias) const override {
    cuda::attention_backward(context_(), shape, spans, bias, dropout, q, k, v, out, log_sum_exp, query_rows, grad_out,
                             grad_q, grad_k, grad_v, grad_bias);
  }

 private:
  Context (*const context_)();
};

}  // namespace

std::unique_ptr<const Kernels> cuda_kernels(Context (*context)()) { return std::make_unique<CudaKernels>(context); }

}  // namespace rkif::cuda
