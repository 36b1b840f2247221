#include <cstdio>
#include <cstdlib>
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

namespace {

int run(const char* part, bool of_gpu) {
  std::unique_ptr<const rkif::Kernels> kernels;
  if (of_gpu) kernels = rkif::cuda::cuda_kernels(rkif::test::cuda_context);
  int passed = 0, failed = 0;
  for (const auto& test : rkif::test::cases()) {
    if (test.name.find(part) == std::string::npos) continue;
    // On a card they need no other kernels in the CPU's place; those of models would compare the GPU's with themselves.
    if (of_gpu && rkif::test::kOnCard && test.name.starts_with("cuda ")) continue;
    // Before every test: some put others in their place and take those away.
    if (of_gpu) rkif::set_kernels(c10::kCPU, kernels.get());
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

}  // namespace

//   rkif_tests, rkif_cuda_tests [--kernels-of-gpu] [PART OF A NAME]
// --kernels-of-gpu: what the models and their tests compute on the CPU, they compute with the GPU's kernels: rkif_tests
// on an emulated grid, rkif_cuda_tests on a card.
int main(int argc, char** argv) {
  const bool of_gpu = argc > 1 && std::strcmp(argv[1], "--kernels-of-gpu") == 0;
  const char* part = argc > 1 + of_gpu ? argv[1 + of_gpu] : "";
  int status = 1;
  try {
    rkif::test::on_card([&] { status = run(part, of_gpu); });
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    status = 1;
  }
  std::fflush(nullptr);
  // What the libraries still hold lies in memory that the driver takes away before them.
  if (rkif::test::kOnCard) std::_Exit(status);
  return status;
}
