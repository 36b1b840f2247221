// Reading the command lines of these benchmarks.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

// A whole number from 1, as 1000 or 1e3; anything else ends the program with a message that names `what`.
inline int64_t positive(const std::string& what, const char* text) {
  char* end = nullptr;
  const double value = std::strtod(text ? text : "", &end);  // accepts 1e8
  if (!text || *end != '\0' || !(value >= 1 && value <= 1e12)) {
    std::fprintf(stderr, "%s is \"%s\"; expected a whole number from 1\n", what.c_str(), text ? text : "");
    std::exit(2);
  }
  return static_cast<int64_t>(value);
}
