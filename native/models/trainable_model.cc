#include "models/trainable_model.h"

#include <ATen/core/grad_mode.h>

#include <stdexcept>

#include "models/frozen.h"
#include "models/penalties.h"

namespace rkif {

void TrainableModel::install(const SlotList& list, WeightReader& reader) {
  FlatParameters flat = rkif::install(list, options_, reader);
  options_.converted = nullptr;  // the caller's, for as long as it loads
  for (const ParameterSlot& slot : list.slots()) {
    if (slot.linear && slot.linear->adapted()) adapted_.push_back(slot.linear);
    if (slot.linear && !adapted_.empty()) backward_.push_back(slot.linear);
  }
  layout_ = flat.layout();
  parameters_ = flat.parameters();
  gradients_ = flat.gradients();
}

namespace {

int64_t row_count(const std::vector<TensorLayout>& layout) {
  int64_t rows = 0;
  for (const TensorLayout& tensor : layout) rows += tensor.shape[0];
  return rows;
}

// For as long as this lives, the layers add up their adapters' outputs.
class OutputSums {
 public:
  OutputSums(const std::vector<Linear*>& layers, const at::Tensor& sums) : layers_(layers) {
    if (!sums.defined()) return;
    int64_t row = 0;
    auto next = [&](int64_t rows) { return sums.narrow(0, (row += rows) - rows, rows); };
    for (Linear* layer : layers_) {
      layer->a_sums = next(layer->a.size(0));
      layer->b_sums = next(layer->b.size(0));
    }
  }
  OutputSums(const OutputSums&) = delete;
  OutputSums& operator=(const OutputSums&) = delete;
  ~OutputSums() {
    for (Linear* layer : layers_) layer->a_sums = layer->b_sums = at::Tensor();
  }

 private:
  const std::vector<Linear*>& layers_;
};

}  // namespace

void TrainableModel::check_training(const AccumulateOptions& options) const {
  if (merged_) {
    throw std::logic_error("the adapter is merged into the base weights: unmerge it before training goes on");
  }
  if (!(options.divisor > 0)) throw std::invalid_argument("the loss divisor must be above 0");
  if (!options.output_sums.defined()) return;
  require_adapter();
  if (options.output_sums.numel() != row_count(layout_)) {
    throw std::invalid_argument("output sums: room for " + std::to_string(options.output_sums.numel()) +
                                ", expected one for each of the adapter's " + std::to_string(row_count(layout_)) +
                                " rows");
  }
}

void TrainableModel::require_adapter() const {
  if (options_.full) throw std::logic_error("there is no adapter: every weight of this model trains");
}

LossReport TrainableModel::accumulate(const Batch& batch, const AccumulateOptions& options) {
  check_training(options);
  for (const Linear* layer : backward_) {
    if (layer->prepacked()) layer->prepacked()->prepare_times();
  }
  OutputSums adding_up(adapted_, options.output_sums);
  return accumulate_batch(batch, options);
}

void TrainableModel::freeze_adapter() {
  require_adapter();
  at::NoGradGuard no_grad;
  freeze_adapters(adapted_);
}

at::Tensor TrainableModel::frozen() const { return frozen_values(adapted_); }

void TrainableModel::set_frozen(const at::Tensor& values) {
  require_adapter();
  at::NoGradGuard no_grad;
  set_frozen_values(adapted_, values);
}

double TrainableModel::add_orthogonality_gradient(const Orthogonality& penalty) {
  require_adapter();
  at::NoGradGuard no_grad;
  double value = 0;
  for (const Linear* layer : adapted_) value += rkif::add_orthogonality_gradient(*layer, penalty);
  return value;
}

double TrainableModel::add_overlap_gradient(double weight) {
  require_adapter();
  at::NoGradGuard no_grad;
  double value = 0;
  for (const Linear* layer : adapted_) value += rkif::add_overlap_gradient(*layer, weight);
  return value;
}

void TrainableModel::merge_adapter() {
  require_adapter();
  if (options_.base_type == BaseType::kInt8) {
    throw std::logic_error("an int8 base cannot take the adapter in: its values are too coarse; leave it unmerged");
  }
  if (merged_) throw std::logic_error("the adapter is merged already");
  size_t done = 0;
  try {
    for (; done < adapted_.size(); ++done) adapted_[done]->merge();
  } catch (...) {
    // Out of memory half-way: all layers or none.
    while (done > 0) adapted_[--done]->unmerge();
    throw;
  }
  merged_ = true;
}

void TrainableModel::unmerge_adapter() {
  if (!merged_) throw std::logic_error("there is no merged adapter to take out of the base weights");
  for (Linear* layer : adapted_) layer->unmerge();
  merged_ = false;
}

void check_records(const Batch& batch) {
  if (batch.label_lengths.size() != batch.input_lengths.size() ||
      batch.record_keys.size() != batch.input_lengths.size()) {
    throw std::invalid_argument("batch: " + std::to_string(batch.input_lengths.size()) + " inputs, " +
                                std::to_string(batch.label_lengths.size()) + " label sequences and " +
                                std::to_string(batch.record_keys.size()) + " record keys, expected as many of each");
  }
}

void check_rate(const std::string& what, double rate) {
  if (!(rate >= 0 && rate < 1)) {
    throw std::invalid_argument(what + " is " + std::to_string(rate) + ", expected 0 <= rate < 1");
  }
}

}  // namespace rkif
