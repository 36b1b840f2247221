// Every kernel of this folder on one device: what models and the addon call, so that they need not know which device
// their tensors are on. The functions are described in the header that each section names. Pointers to values are
// pointers into the device's memory; what is passed by reference or by value is the host's. Nothing waits for the
// device: results are written to its memory, too.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/activation.h"
#include "kernels/adamw.h"
#include "kernels/add_rows.h"
#include "kernels/attention.h"
#include "kernels/dropout.h"
#include "kernels/fuse.h"
#include "kernels/low_rank.h"
#include "kernels/mask_rows.h"
#include "kernels/norms.h"
#include "kernels/pooling.h"
#include "kernels/select.h"
#include "kernels/step_report.h"
#include "kernels/sum.h"
#include "kernels/vector_ops.h"

namespace rkif {

// Types that activations are kept in.
enum class Stored { kFloat32, kBfloat16 };

// The mask bits of one side of a fusion, and the thresholds that made them.
struct FusionMask {
  const uint8_t* bits;
  const float* thresholds;
  int64_t threshold_count;
};

// A batch's spans in both memories.
struct DeviceSpans {
  const std::vector<AttentionSpan>& host;
  const AttentionSpan* device;
};

class Kernels {
 public:
  virtual ~Kernels() = default;

  // --- vector_ops.h
  virtual void difference(int64_t n, const float* a, const float* b, float* out) const = 0;
  virtual void add_scaled(int64_t n, float* x, const float* y, float scale) const = 0;
  virtual void add_product(int64_t n, float* x, const float* a, const float* b, float scale) const = 0;
  virtual void scale(int64_t n, float* x, float factor) const = 0;
  virtual void product(int64_t n, const float* a, const float* b, float* out) const = 0;
  virtual void norm(int64_t n, const float* x, Norm* result) const = 0;

  // --- step_report.h, importance.h, adamw.h
  // The negative sum of `log_probabilities`, in double, is added to report->loss_sum.
  virtual void add_losses(int64_t n, const float* log_probabilities, StepReport* report) const = 0;
  virtual void update_importance(int64_t n, const float* weights, const float* gradients, const uint8_t* mask,
                                 ImportanceDecay decay, float* importance, float* uncertainty) const = 0;
  // The gradient is clipped to max_norm (infinite: not), given its norm and the loss in `report`, where the outcome is
  // noted. Nothing else is written where one of them is not finite. The update has the number options.update, or the
  // one after that of `after`, the optimizer's last step, which may be null.
  virtual void adamw_step(int64_t n, float* weights, const float* gradients, float* m, float* v, double max_norm,
                          const AdamW& options, const ImportanceUpdate* importance, const StepReport* after,
                          StepReport* report) const = 0;

  // --- select.h, mask_rows.h
  virtual void quantiles(int64_t n, const float* values, const std::vector<double>& at, double* results) const = 0;
  // mask_by_threshold of each part, which has so many elements, with its quantile `at`, which is written to its place
  // in `thresholds`. Parts lie behind each other.
  virtual void mask_by_quantile(const std::vector<int64_t>& lengths, const float* values, double at, Compare compare,
                                uint8_t* mask, float* thresholds) const = 0;
  virtual void mask_top_k(const std::vector<TopK>& parts, const float* values, uint8_t* mask,
                          float* thresholds) const = 0;
  virtual void count_bits(int64_t n, const uint8_t* mask, int64_t* result) const = 0;
  // Of matrices that lie behind each other, as their sums do.
  virtual void mask_rows(const std::vector<RowMatrix>& matrices, float* values, const float* sums, double at) const = 0;

  // --- fuse.h
  // Where a threshold is NaN, parameters = start and all counts are -1.
  virtual void fuse(int64_t n, const float* start, const float* tau_in, const float* tau_out, const FusionMask& in,
                    const FusionMask& out, const FusionTable& table, float* parameters, int64_t* counts) const = 0;
  // *fused: 1, or 0 where parameters = start.
  virtual void fuse_adaptive(int64_t n, const float* start, const float* tau_in, const float* tau_out,
                             const float* score_in, const float* score_out, float temperature, float* parameters,
                             float* weight_in, float* weight_out, int32_t* fused) const = 0;

  // --- dropout.h, residual.h, activation.h. Records and positions are in the device's memory.
  virtual void dropout_rows(const MaskedMatrix& shape, const float* in, float* out) const = 0;
  virtual void add_residual(const MaskedMatrix& shape, const float* residual, Stored type, const void* x,
                            float* out) const = 0;
  virtual void residual_gradient(const MaskedMatrix& shape, const float* g, Stored type, void* dx) const = 0;
  virtual void activation_forward(Activation activation, const MaskedMatrix& shape, Stored type, const void* x,
                                  const void* gate, void* out) const = 0;
  virtual void activation_backward(Activation activation, const MaskedMatrix& shape, Stored type, const void* x,
                                   const void* gate, const void* dout, void* dx, void* dgate) const = 0;

  // --- norms.h
  virtual void rms_norm(int64_t rows, int64_t columns, const float* x, const float* weight, float epsilon, float* out,
                        Bfloat16* rounded, float* inverse) const = 0;
  virtual void rms_norm_gradient(int64_t rows, int64_t columns, const float* x, const float* weight,
                                 const float* inverse, Stored type, const Parts<void>& g, float* dx) const = 0;
  virtual void add_rms_norm_weight_gradient(int64_t rows, int64_t columns, const float* x, const float* inverse,
                                            const float* g, float* dweight) const = 0;
  virtual void layer_norm(int64_t rows, int64_t columns, const float* x, const float* weight, const float* bias,
                          float epsilon, float* out, Moments* moments) const = 0;
  virtual void layer_norm_gradient(int64_t rows, int64_t columns, const float* x, const float* weight,
                                   const Moments* moments, const float* g, float* dx) const = 0;
  virtual void add_layer_norm_parameter_gradients(int64_t rows, int64_t columns, const float* x, const Moments* moments,
                                                  const float* g, float* dweight, float* dbias) const = 0;

  // --- rotate.h, pooling.h
  // The positions, too, are in the device's memory.
  virtual void rotate_rows(int64_t rows, int64_t heads, int64_t head_size, const float* x, const int32_t* positions,
                           const float* cosine, const float* sine, bool inverse, float* out) const = 0;
  virtual void mean_unit_vectors(const PackedTexts& texts, int64_t columns, const float* states, float* out,
                                 float* lengths) const = 0;
  virtual void mean_unit_vectors_gradient(const PackedTexts& texts, int64_t columns, const float* out,
                                          const float* lengths, const float* g, float* dstates) const = 0;

  // --- add_rows.h
  virtual void add_rows(int64_t count, int64_t columns, const int32_t* ids, const float* rows, float* into) const = 0;

  // --- sum.h
  virtual void sum_parts(int64_t n, Stored type, const Parts<void>& parts, float* out) const = 0;

  // --- low_rank.h. Records and positions of LowRank::keys are in the device's memory.
  virtual void low_rank_forward(int64_t rows, const LowRank& layer, const float* x, float* y, float* hidden,
                                const Bfloat16* base) const = 0;
  virtual void low_rank_backward(int64_t rows, const LowRank& layer, const float* x, const float* hidden,
                                 const float* dy, const LowRankGradients& into) const = 0;

  // --- attention.h
  virtual void attention_forward(const AttentionShape& shape, const DeviceSpans& spans, const OffsetBias& bias,
                                 const AttentionDropout& dropout, const float* q, const float* k, const float* v,
                                 float* out, float* log_sum_exp, int64_t query_rows,
                                 const AttentionPrefix& prefix) const = 0;
  // Spans share no keys, and grad_k and grad_v no memory.
  virtual void attention_backward(const AttentionShape& shape, const DeviceSpans& spans, const OffsetBias& bias,
                                  const AttentionDropout& dropout, const float* q, const float* k, const float* v,
                                  const float* out, const float* log_sum_exp, int64_t query_rows, const float* grad_out,
                                  float* grad_q, float* grad_k, float* grad_v, float* grad_bias) const = 0;
};

// Those of the CPU; nothing of a span's `device` is read.
const Kernels& cpu_kernels();

}  // namespace rkif
