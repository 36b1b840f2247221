// Takes a checkpoint's tensors by name and reports everything that does not fit at once.
#pragma once
#include <ATen/core/Tensor.h>

#include <set>
#include <string>
#include <vector>

#include "models/model.h"

namespace rkif {

class WeightReader {
 public:
  explicit WeightReader(const Weights& weights) : weights_(weights) {}

  bool has(const std::string& name) const { return weights_.count(name) > 0; }
  // The tensor as stored. Undefined, and noted, where it is missing, of another shape or not of a floating type.
  at::Tensor take(const std::string& name, const std::vector<int64_t>& shape);
  // A tensor that is known to be of no use here.
  void ignore(const std::string& name) { used_.insert(name); }
  // A second name of a tensor already taken: may be absent; noted where it has other values.
  void expect_copy(const std::string& name, const std::string& of, const at::Tensor& original);
  // Throws CheckpointMismatch naming what was missing, misshapen or left over. `what`: "T5".
  void finish(const std::string& what) const;

 private:
  const Weights& weights_;
  std::set<std::string> used_;
  std::vector<std::string> missing_;
  std::vector<std::string> unfit_;
};

}  // namespace rkif
