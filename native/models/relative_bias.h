// T5's buckets of relative positions (Raffel et al., arXiv 1910.10683, section 2.1): one per small distance, then
// logarithmically wider ones.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "models/attention.h"

namespace rkif {

class RelativeBuckets {
 public:
  RelativeBuckets() = default;
  // Bidirectional (encoder): half of the buckets for keys after the query. Otherwise such keys share bucket 0 with the
  // query itself. Throws std::invalid_argument where the buckets are too few for the formula.
  RelativeBuckets(bool bidirectional, int64_t buckets, int64_t max_distance);

  // Bucket of key position - query position.
  int32_t bucket(int64_t offset) const;
  // The bias of every offset below `reach`, from `weight` [buckets, heads]; gradients flow back to it.
  AttentionBias bias(const at::Tensor& weight, int64_t reach) const;

 private:
  // Buckets of the offsets below `reach`, in their order, where `like` is.
  at::Tensor buckets_of_offsets(const at::Tensor& like, int64_t reach) const;

  bool bidirectional_ = true;
  int32_t one_side_ = 0;              // buckets of one direction
  std::vector<int32_t> of_distance_;  // by distance; farther ones share the last bucket
  // Those of all offsets below placed_reach_; models are used by one thread.
  mutable at::Tensor placed_;
  mutable int64_t placed_reach_ = 0;
};

}  // namespace rkif
