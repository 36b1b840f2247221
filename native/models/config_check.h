// Checks of a family's configuration, before any weight is looked at. All throw std::invalid_argument naming the field.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace rkif {

class ConfigCheck {
 public:
  // `family` begins every message: "T5".
  explicit ConfigCheck(std::string family) : family_(std::move(family)) {}

  [[noreturn]] void refuse(const std::string& what) const {
    throw std::invalid_argument(family_ + " configuration: " + what);
  }
  void positive(const char* name, int64_t value) const {
    if (value < 1) refuse(std::string(name) + " is " + std::to_string(value) + ", expected at least 1");
  }

 private:
  const std::string family_;
};

}  // namespace rkif
