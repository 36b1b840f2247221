#include "models/trainable_model.h"

#include <stdexcept>

namespace rkif {

void TrainableModel::install(const SlotList& list, WeightReader& reader) {
  FlatParameters flat = rkif::install(list, options_, reader);
  options_.converted = nullptr;  // the caller's, for as long as it loads
  for (const ParameterSlot& slot : list.slots()) {
    if (slot.linear && slot.linear->adapted()) adapted_.push_back(slot.linear);
  }
  layout_ = flat.layout();
  parameters_ = flat.parameters();
  gradients_ = flat.gradients();
}

void TrainableModel::check_training(const AccumulateOptions& options) const {
  if (merged_) {
    throw std::logic_error("the adapter is merged into the base weights: unmerge it before training goes on");
  }
  if (!(options.divisor > 0)) throw std::invalid_argument("the loss divisor must be above 0");
}

void TrainableModel::merge_adapter() {
  if (options_.full) throw std::logic_error("there is no adapter to merge: every weight of this model trains");
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
