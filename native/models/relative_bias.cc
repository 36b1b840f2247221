#include "models/relative_bias.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/log.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "models/autograd.h"
#include "models/device.h"

namespace rkif {
namespace {

struct BiasKept {
  at::Tensor buckets;
  std::vector<int64_t> shape;  // of the weight
};

// libtorch's gradient of index_select adds up in no fixed order on a GPU.
struct BiasFunction : torch::autograd::Function<BiasFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& weight, const at::Tensor& buckets) {
    keep(context, BiasKept{buckets, weight.sizes().vec()});
    return at::index_select(weight, 0, buckets);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const BiasKept kept = take<BiasKept>(context);
    const at::Tensor rows = gradients[0].contiguous();
    at::Tensor to_weight = at::zeros(kept.shape, rows.options());
    kernels_of(rows).add_rows(rows.size(0), rows.size(1), kept.buckets.const_data_ptr<int32_t>(),
                              rows.const_data_ptr<float>(), to_weight.mutable_data_ptr<float>());
    return {to_weight, at::Tensor()};
  }
};

}  // namespace

RelativeBuckets::RelativeBuckets(bool bidirectional, int64_t buckets, int64_t max_distance)
    : bidirectional_(bidirectional), one_side_(static_cast<int32_t>(bidirectional ? buckets / 2 : buckets)) {
  int64_t exact = one_side_ / 2;
  if (exact < 1 || max_distance <= exact) {
    throw std::invalid_argument("relative attention with " + std::to_string(buckets) +
                                " buckets and a maximal distance of " + std::to_string(max_distance) +
                                ": expected at least 4 buckets and a distance above " +
                                std::to_string(std::max<int64_t>(exact, 1)));
  }
  if (max_distance > (1 << 20)) {
    throw std::invalid_argument("relative attention with a maximal distance of " + std::to_string(max_distance) +
                                ", expected at most " + std::to_string(1 << 20));
  }
  // Tensor operations and not std::log, in the order of transformers: a logarithm that differs in its last bit can move
  // a distance that lies on the border of two buckets.
  at::Tensor logarithms = at::arange(max_distance + 1, at::kFloat)
                              .div_(static_cast<double>(exact))
                              .log_()
                              .div_(std::log(static_cast<double>(max_distance) / static_cast<double>(exact)))
                              .mul_(static_cast<double>(one_side_ - exact));
  const float* steps = logarithms.const_data_ptr<float>();
  of_distance_.resize(max_distance + 1);
  for (int64_t distance = 0; distance <= max_distance; ++distance) {
    int64_t bucket = distance < exact ? distance : exact + static_cast<int64_t>(steps[distance]);
    of_distance_[distance] = static_cast<int32_t>(std::min<int64_t>(bucket, one_side_ - 1));
  }
}

int32_t RelativeBuckets::bucket(int64_t offset) const {
  int64_t distance = bidirectional_ ? std::abs(offset) : std::max<int64_t>(-offset, 0);
  int32_t side = bidirectional_ && offset > 0 ? one_side_ : 0;
  return side + of_distance_[std::min<int64_t>(distance, static_cast<int64_t>(of_distance_.size()) - 1)];
}

at::Tensor RelativeBuckets::buckets_of_offsets(const at::Tensor& like, int64_t reach) const {
  if (reach > placed_reach_ || placed_.device() != like.device()) {
    // What an evaluation makes a training step keeps for its backward pass, which refuses tensors of inference mode.
    const c10::InferenceMode inference(false);
    const int64_t wider = std::max<int64_t>({reach, 2 * placed_reach_, 256});
    std::vector<int32_t> buckets(2 * wider - 1);
    for (size_t i = 0; i < buckets.size(); ++i) buckets[i] = bucket(static_cast<int64_t>(i) - (wider - 1));
    // Only now: a reach that there is no memory for changes nothing.
    placed_ = index_tensor(buckets, like);
    placed_reach_ = wider;
  }
  return placed_.narrow(0, placed_reach_ - reach, 2 * reach - 1);
}

AttentionBias RelativeBuckets::bias(const at::Tensor& weight, int64_t reach) const {
  const at::Tensor places = buckets_of_offsets(weight, reach);
  const at::Tensor rows = tracks(weight) ? BiasFunction::apply(weight, places) : at::index_select(weight, 0, places);
  return {rows.t().contiguous(), reach};
}

}  // namespace rkif
