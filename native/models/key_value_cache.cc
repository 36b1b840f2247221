#include "models/key_value_cache.h"

#include <ATen/ops/empty.h>

#include <algorithm>

namespace rkif {

KeyValueCache::KeyValueCache(int64_t layers, int64_t rows, int64_t most, int64_t width)
    : rows_(rows), most_(most), capacity_(std::min<int64_t>(most, 16)) {
  for (int64_t i = 0; i < layers; ++i) {
    layers_.push_back(
        {at::empty({rows * capacity_, width}, at::kFloat), at::empty({rows * capacity_, width}, at::kFloat)});
  }
}

void KeyValueCache::grow(int64_t capacity) {
  for (KeyValues& layer : layers_) {
    for (at::Tensor* stored : {&layer.keys, &layer.values}) {
      at::Tensor old = stored->view({rows_, -1, stored->size(1)});
      at::Tensor larger = at::empty({rows_, capacity, stored->size(1)}, stored->options());
      larger.narrow(1, 0, old.size(1)).copy_(old);
      *stored = larger.view({rows_ * capacity, -1});
    }
  }
  capacity_ = capacity;
}

void KeyValueCache::begin(const std::vector<int32_t>& active, int64_t step) {
  if (step >= capacity_) grow(std::min(std::max(2 * capacity_, step + 1), std::max(most_, step + 1)));
  positions_ = at::empty({static_cast<int64_t>(active.size())}, at::kLong);
  int64_t* position = positions_.mutable_data_ptr<int64_t>();
  for (size_t i = 0; i < active.size(); ++i) position[i] = active[i] * capacity_ + step;
}

const KeyValues& KeyValueCache::store(int64_t layer, const KeyValues& step) {
  KeyValues& all = layers_[layer];
  all.keys.index_copy_(0, positions_, step.keys);
  all.values.index_copy_(0, positions_, step.values);
  return all;
}

}  // namespace rkif
