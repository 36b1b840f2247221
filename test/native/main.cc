#include <chrono>
#include <cstdio>
#include <cstring>

#include "check.h"

namespace rkif::test {
std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}
}  // namespace rkif::test

int main(int argc, char** argv) {
  int passed = 0, failed = 0;
  for (const auto& test : rkif::test::cases()) {
    if (argc > 1 && test.name.find(argv[1]) == std::string::npos) continue;
    try {
      test.run();
      ++passed;
      std::printf("  ok    %s\n", test.name.c_str());
    } catch (const std::exception& error) {
      ++failed;
      std::printf("  FAIL  %s\n        %s\n", test.name.c_str(), error.what());
    }
    std::fflush(stdout);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 && passed > 0 ? 0 : 1;
}
