// What all families have in common: weights with an adapter on them, or all of them trained.
#pragma once
#include <vector>

#include "models/model.h"
#include "models/parameters.h"

namespace rkif {

class TrainableModel : public Model {
 public:
  LossReport accumulate(const Batch& batch, const AccumulateOptions& options) final;
  void freeze_adapter() override;
  at::Tensor frozen() const override;
  void set_frozen(const at::Tensor& values) override;
  double add_orthogonality_gradient(const Orthogonality& penalty) override;
  double add_overlap_gradient(double weight) override;
  void merge_adapter() override;
  void unmerge_adapter() override;

 protected:
  explicit TrainableModel(const ModelOptions& options) : options_(options) {}
  // Fills the slots and the flat vectors. The model then takes what else it needs of `reader` and finishes it.
  void install(const SlotList& list, WeightReader& reader);
  // accumulate() of a family: the options are checked.
  virtual LossReport accumulate_batch(const Batch& batch, const AccumulateOptions& options) = 0;
  // The rate of dropout in place of the configuration's, where the options give one.
  double base_rate(double of_config) const { return options_.base_dropout < 0 ? of_config : options_.base_dropout; }
  bool checkpointing() const { return options_.gradient_checkpointing; }
  double adapter_rate() const { return options_.full ? 0 : options_.adapter_dropout; }

  ModelOptions options_;

 private:
  void check_training(const AccumulateOptions& options) const;
  // Throws where every weight trains.
  void require_adapter() const;

  std::vector<Linear*> adapted_;         // in the order of layout_, which has an A and a B of each
  std::vector<const Linear*> backward_;  // layers that gradients go through: from the first adapted one on
  bool merged_ = false;
};

// Refuses a batch whose records do not have label lengths and keys as many as inputs (std::invalid_argument).
void check_records(const Batch& batch);

// Refuses a rate that is none (std::invalid_argument naming it).
void check_rate(const std::string& what, double rate);

}  // namespace rkif
