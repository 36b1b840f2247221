#include "models/key_value_cache.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>

#include <algorithm>

namespace rkif {
namespace {

// Numbers below which another thread is not worth waking.
constexpr int64_t kGrain = 1 << 15;

// Row by row, where they come from and where they go.
std::vector<int64_t> rows_of(const std::vector<RowRun>& runs, int64_t RowRun::* first) {
  std::vector<int64_t> rows;
  for (const RowRun& run : runs) {
    for (int64_t i = 0; i < run.count; ++i) rows.push_back(run.*first + i);
  }
  return rows;
}

}  // namespace

bool RowRunList::end_to_end() const {
  int64_t next = runs_.empty() ? 0 : runs_[0].from;
  for (const RowRun& run : runs_) {
    if (run.from != next) return false;
    next += run.count;
  }
  return true;
}

void RowRunList::join(Upload& upload) const {
  if (runs_.empty() || reads_host_memory(upload.device())) return;
  upload.add(rows_of(runs_, &RowRun::to), at::kLong, targets_);
  if (!end_to_end()) upload.add(rows_of(runs_, &RowRun::from), at::kLong, sources_);
}

// Where a kernel of the device's library does it best.
void RowRunList::copy_by_index(const at::Tensor& from, const at::Tensor& to) const {
  if (!targets_.defined()) {
    Upload upload(to);
    join(upload);
    upload.send();
  }
  const at::Tensor rows =
      sources_.defined() ? at::index_select(from, 0, sources_) : from.narrow(0, runs_[0].from, targets_.size(0));
  at::Tensor into = to;
  into.index_copy_(0, targets_, rows);
}

void RowRunList::copy(const at::Tensor& from, const at::Tensor& to) const {
  if (runs_.empty()) return;
  at::Tensor rows = from.contiguous();
  const int64_t width = to.size(1);
  TORCH_CHECK(rows.size(1) == width, "a store of keys with ", width, " columns is given ", rows.size(1));
  if (!reads_host_memory(to.device())) {
    copy_by_index(rows, to);
    return;
  }
  const float* source = rows.const_data_ptr<float>();
  float* target = to.mutable_data_ptr<float>();
  const int64_t grain = std::max<int64_t>(1, kGrain / (runs_[0].count * width));
  at::parallel_for(0, static_cast<int64_t>(runs_.size()), grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::copy_n(source + runs_[i].from * width, runs_[i].count * width, target + runs_[i].to * width);
    }
  });
}

KeyValueStore::KeyValueStore(int64_t layers, int64_t tokens, int64_t width, const at::TensorOptions& options) {
  for (int64_t i = 0; i < layers; ++i) {
    layers_.push_back({at::empty({tokens, width}, options), at::empty({tokens, width}, options)});
  }
}

KeyValueStore KeyValueStore::of_one_layer(int64_t layers, int64_t tokens, int64_t width,
                                          const at::TensorOptions& options) {
  KeyValueStore store(1, tokens, width, options);
  store.layers_.resize(layers, KeyValues(store.layers_[0]));
  return store;
}

void KeyValueStore::write(int64_t layer, const KeyValues& computed, const RowRunList& runs) {
  runs.copy(computed.keys, layers_[layer].keys);
  runs.copy(computed.values, layers_[layer].values);
}

void KeyValueStore::resize(int64_t tokens, const RowRunList& runs) {
  // Layer by layer: both sizes of all of them would be twice the memory.
  for (KeyValues& layer : layers_) {
    for (at::Tensor* stored : {&layer.keys, &layer.values}) {
      at::Tensor other = at::empty({tokens, stored->size(1)}, stored->options());
      runs.copy(*stored, other);
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
  store_.resize(slots_ * capacity, RowRunList(std::move(runs)));
  capacity_ = capacity;
}

}  // namespace rkif
