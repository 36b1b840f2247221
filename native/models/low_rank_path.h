// For layers with an adapter.
#pragma once
#include <ATen/core/Tensor.h>

#include "models/device.h"
#include "models/dropout.h"
#include "models/profile.h"

namespace rkif {

// The low-rank path of one pair of factors, as the kernels take it.
class LowRankPath {
 public:
  // `rows`: a matrix with the rows of the place, which outlives this.
  LowRankPath(const at::Tensor& a, const at::Tensor& b, float scale, const Dropout& place, const at::Tensor& rows)
      : layer_{a.size(1),
               b.size(0),
               a.size(0),
               a.const_data_ptr<float>(),
               b.const_data_ptr<float>(),
               scale,
               masked(place, rows).keys,
               place.rate} {}
  LowRankPath(const LowRankPath&) = delete;

  // `base`, where it is defined: y is to hold its sum with the path, and not what it holds now. bf16.
  void add_to(const at::Tensor& y, const at::Tensor& x, float* hidden, const at::Tensor& base = {}) const {
    NamedWork work("rkif::low_rank");
    kernels_of(x).low_rank_forward(x.size(0), layer_, x.const_data_ptr<float>(), y.mutable_data_ptr<float>(), hidden,
                                   base.defined() ? bfloat16_values(base) : nullptr);
  }
  void backward(const float* x, const float* hidden, const at::Tensor& dy, const LowRankGradients& into) const {
    NamedWork work("rkif::low_rank");
    kernels_of(dy).low_rank_backward(dy.size(0), layer_, x, hidden, dy.const_data_ptr<float>(), into);
  }

 private:
  LowRank layer_;
};

}  // namespace rkif
