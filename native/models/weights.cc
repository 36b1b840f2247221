#include "models/weights.h"

#include <ATen/ops/equal.h>

namespace rkif {
namespace {

std::string text(at::IntArrayRef shape) {
  std::string result = "[";
  for (size_t i = 0; i < shape.size(); ++i) result += (i ? ", " : "") + std::to_string(shape[i]);
  return result + "]";
}

// "3 missing (a, b, ...)".
void append(std::string& message, const std::vector<std::string>& names, const std::string& what) {
  constexpr size_t kShown = 5;
  if (names.empty()) return;
  message += (message.empty() ? "" : "; ") + std::to_string(names.size()) + " " + what + " (";
  for (size_t i = 0; i < names.size() && i < kShown; ++i) message += (i ? ", " : "") + names[i];
  message += names.size() > kShown ? ", ...)" : ")";
}

}  // namespace

at::Tensor WeightReader::take(const std::string& name, const std::vector<int64_t>& shape) {
  auto found = weights_.find(name);
  if (found == weights_.end()) {
    missing_.push_back(name);
    return {};
  }
  used_.insert(name);
  const at::Tensor& tensor = found->second;
  if (tensor.sizes() != at::IntArrayRef(shape)) {
    unfit_.push_back(name + ": found " + text(tensor.sizes()) + ", expected " + text(shape));
    return {};
  }
  if (!at::isFloatingType(tensor.scalar_type())) {
    unfit_.push_back(name + ": found type " + c10::toString(tensor.scalar_type()) + ", expected a floating type");
    return {};
  }
  return tensor;
}

void WeightReader::expect_copy(const std::string& name, const std::string& of, const at::Tensor& original) {
  auto found = weights_.find(name);
  if (found == weights_.end()) return;
  used_.insert(name);
  // Where the original did not fit, that is already noted.
  if (!original.defined()) return;
  const at::Tensor& copy = found->second;
  if (copy.sizes() != original.sizes()) {
    unfit_.push_back(name + ": found " + text(copy.sizes()) + ", expected " + text(original.sizes()));
  } else if (!at::equal(copy.to(at::kFloat), original.to(at::kFloat))) {
    unfit_.push_back(name + ": its values differ from " + of + ", to which the configuration ties it");
  }
}

void WeightReader::finish(const std::string& what) const {
  std::vector<std::string> unexpected;
  for (const auto& [name, tensor] : weights_) {
    if (!used_.count(name)) unexpected.push_back(name);
  }
  std::string problems;
  append(problems, missing_, "missing");
  append(problems, unfit_, "unfit");
  append(problems, unexpected, "unexpected");
  if (problems.empty()) return;
  throw CheckpointMismatch("the weights do not fit the " + what + " configuration: " + problems +
                           "; check that config.json belongs to these weights");
}

}  // namespace rkif
