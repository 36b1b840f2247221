#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>

#include "cuda/cuda_test.h"
#include "kernels/cuda/cuda_kernels.h"
#include "models/device.h"

namespace rkif::test {
std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}
}  // namespace rkif::test

//   rkif_tests [--emulated] [PART OF A NAME]
// --emulated: what the models and their tests compute, they compute with the GPU's kernels on an emulated grid.
int main(int argc, char** argv) {
  const bool emulated = argc > 1 && std::strcmp(argv[1], "--emulated") == 0;
  const char* part = argc > 1 + emulated ? argv[1 + emulated] : "";
  std::unique_ptr<const rkif::Kernels> kernels;
  if (emulated) kernels = rkif::cuda::cuda_kernels(rkif::test::cuda_context);
  int passed = 0, failed = 0;
  for (const auto& test : rkif::test::cases()) {
    if (test.name.find(part) == std::string::npos) continue;
    // Before every test: some put others in their place and take those away.
    if (emulated) rkif::set_kernels(c10::kCPU, kernels.get());
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
