#include "models/gpu.h"

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/engine.h>

#include <string>

#include "models/device.h"

namespace rkif {
namespace {

// libtorch starts a thread for every GPU that it knows when the first backward pass begins, and never again.
struct BackwardThreads : torch::autograd::Engine {
  static size_t count() {
    torch::autograd::Engine& engine = get_default_engine();
    engine.initialize_device_threads_pool();
    return (engine.*&BackwardThreads::device_ready_queues_).size();
  }
};

[[noreturn]] void too_late(const std::string& found) {
  throw GpuUnavailable("no GPU can be used: " + found +
                       "\nPossible solutions:\n"
                       "  - ask for the GPU before anything is computed on the CPU: load the first model of the "
                       "process with device \"cuda\"\n"
                       "  - use the GPU in a process of its own");
}

}  // namespace

void require_found(at::Device device) {
  if (!at::detail::getCUDAHooks().isBuilt()) {
    too_late("this process has computed without libtorch's CUDA half, for which libtorch looks only once");
  }
  if (BackwardThreads::count() <= static_cast<size_t>(device.index())) {
    too_late("this process computed its first backward pass when libtorch knew nothing of " + device.str());
  }
}

void require_open(at::Device device) {
  if (device.is_cpu() || has_kernels(device.type())) return;
  throw GpuUnavailable("no GPU is open in this process, and " + device.str() +
                       " was asked for: call openCuda with the kernels' library first");
}

void set_product_precision() {
  at::Context& context = at::globalContext();
  // TF32 keeps 10 bits of 23: losses and gradients would be a thousand times as far from the CPU's.
  context.setAllowTF32CuBLAS(false);
  // Parts of a long sum would be rounded to bf16 before they are added together.
  context.setAllowBF16ReductionCuBLAS(false);
}

void open_gpu(at::Device device, const Kernels* kernels) {
  require_found(device);
  try {
    // The first use of the card, whose failure is told here and not by whatever comes first.
    at::empty({1}, at::TensorOptions(at::kFloat).device(device));
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const c10::Error& error) {
    throw GpuUnavailable("no GPU can be used: " + device.str() + ": " + error.what_without_backtrace());
  }
  set_product_precision();
  set_kernels(at::kCUDA, kernels);
}

}  // namespace rkif
