// Dropout of packed rows as a function of counters: the mask belongs to the record, its position and the place in the
// model.
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>

#include "kernels/dropout.h"
#include "models/device.h"
#include "models/model.h"
#include "models/packed.h"

namespace rkif {

// One place of dropout in one forward pass. A rate of 0 means none.
struct Dropout {
  double rate = 0;
  uint64_t site_key = 0;
  std::shared_ptr<const RowPlaces> rows;

  bool active() const { return rate > 0; }
  // `out` = the mask applied to `in`; both [rows, columns], contiguous fp32, and may be the same. Backward is the same
  // call on the gradient.
  void apply(const at::Tensor& in, const at::Tensor& out) const;
};

// The matrix [rows, columns] `like`, or one beside it with as many rows, at a place, as kernels on its device take it.
// The place outlives their call.
MaskedMatrix masked(const Dropout& place, const at::Tensor& like);

// Number of a place of dropout within a model: the layer from bit 8, the place within the layer below.
inline uint32_t site_number(int64_t layer, uint32_t site) { return static_cast<uint32_t>(layer) << 8 | site; }

// Dropout at a site, in a step's counters; none where the rate is 0.
inline Dropout dropout_at(double rate, const DropoutCounters& counters, uint32_t site,
                          const std::shared_ptr<const RowPlaces>& rows) {
  if (rate <= 0) return {};
  return {rate, dropout_site_key(counters, site), rows};
}

// The same for attention's probabilities, whose rows the kernel knows.
inline AttentionDropout attention_dropout_at(double rate, const DropoutCounters& counters, uint32_t site) {
  if (rate <= 0) return {};
  return {rate, dropout_site_key(counters, site)};
}

at::Tensor dropout(const at::Tensor& x, const Dropout& place);

// residual + dropout(x), fp32: the end of every sublayer, and therefore where the passes stop when `abort` is set,
// forward and backward. x may be bf16; its gradient has its type.
at::Tensor add_dropped(const at::Tensor& residual, const at::Tensor& x, const Dropout& place, const AbortFlag& abort);

}  // namespace rkif
