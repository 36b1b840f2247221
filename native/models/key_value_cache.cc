#include "models/key_value_cache.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>

#include <algorithm>

#include "models/device.h"

namespace rkif {
namespace {

// Numbers below which another thread is not worth waking.
constexpr int64_t kGrain = 1 << 15;

// Where a kernel of the device's library does it best.
void copy_rows_by_index(const at::Tensor& from, const std::vector<RowRun>& runs, const at::Tensor& to) {
  std::vector<int64_t> sources, targets;
  for (const RowRun& run : runs) {
    for (int64_t i = 0; i < run.count; ++i) {
      sources.push_back(run.from + i);
      targets.push_back(run.to + i);
    }
  }
  at::Tensor into = to;
  into.index_copy_(0, tensor_beside(to, targets, at::kLong),
                   at::index_select(from, 0, tensor_beside(from, sources, at::kLong)));
}

void copy_rows(const at::Tensor& from, const std::vector<RowRun>& runs, const at::Tensor& to) {
  at::Tensor rows = from.contiguous();
  if (!to.device().is_cpu()) {
    copy_rows_by_index(rows, runs, to);
    return;
  }
  const int64_t width = to.size(1);
  TORCH_CHECK(rows.size(1) == width, "a store of keys with ", width, " columns is given ", rows.size(1));
  const float* source = rows.const_data_ptr<float>();
  float* target = to.mutable_data_ptr<float>();
  const int64_t grain = runs.empty() ? 1 : std::max<int64_t>(1, kGrain / (runs[0].count * width));
  at::parallel_for(0, static_cast<int64_t>(runs.size()), grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::copy_n(source + runs[i].from * width, runs[i].count * width, target + runs[i].to * width);
    }
  });
}

}  // namespace

KeyValueStore::KeyValueStore(int64_t layers, int64_t tokens, int64_t width, const at::TensorOptions& options) {
  for (int64_t i = 0; i < layers; ++i) {
    layers_.push_back({at::empty({tokens, width}, options), at::empty({tokens, width}, options)});
  }
}

void KeyValueStore::write(int64_t layer, const KeyValues& computed, const std::vector<RowRun>& runs) {
  copy_rows(computed.keys, runs, layers_[layer].keys);
  copy_rows(computed.values, runs, layers_[layer].values);
}

void KeyValueStore::resize(int64_t tokens, const std::vector<RowRun>& runs) {
  // Layer by layer: both sizes of all of them would be twice the memory.
  for (KeyValues& layer : layers_) {
    for (at::Tensor* stored : {&layer.keys, &layer.values}) {
      at::Tensor other = at::empty({tokens, stored->size(1)}, stored->options());
      copy_rows(*stored, runs, other);
      *stored = other;
    }
  }
}

AnswerKeys::AnswerKeys(int64_t layers, int64_t slots, int64_t most, int64_t width, const at::TensorOptions& options)
    : slots_(slots),
      most_(most),
      capacity_(std::min<int64_t>(most, 16)),
      store_(layers, slots * capacity_, width, options) {}

void AnswerKeys::reserve(int64_t tokens) {
  if (tokens <= capacity_) return;
  const int64_t capacity = std::min(std::max(2 * capacity_, tokens), std::max(most_, tokens));
  std::vector<RowRun> runs;
  for (int64_t slot = 0; slot < slots_; ++slot) runs.push_back({slot * capacity_, capacity_, slot * capacity});
  store_.resize(slots_ * capacity, runs);
  capacity_ = capacity;
}

}  // namespace rkif
