#include "models/device.h"

#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <atomic>
#include <cstring>
#include <stdexcept>

#include "models/profile.h"

namespace rkif {
namespace {

std::atomic<const Kernels*> cpu{nullptr};
std::atomic<const Kernels*> cuda{nullptr};

// libtorch's operators switch to their tensors' card and back; a thread that nobody told is on the first one.
void make_current(at::Device device) {
  const c10::impl::DeviceGuardImplInterface* cards = c10::impl::getDeviceGuardImpl(device.type());
  if (cards->getDevice() != device) cards->setDevice(device);
}

}  // namespace

const Kernels& kernels_of(const at::Tensor& tensor) {
  if (tensor.device().is_cpu()) {
    const Kernels* given = cpu.load(std::memory_order_acquire);
    return given ? *given : cpu_kernels();
  }
  const Kernels* given = tensor.is_cuda() ? cuda.load(std::memory_order_acquire) : nullptr;
  if (!given) throw std::logic_error("there are no kernels for device " + tensor.device().str());
  make_current(tensor.device());
  return *given;
}

bool has_kernels(c10::DeviceType device) {
  return device == c10::kCPU || (device == c10::kCUDA && cuda.load(std::memory_order_acquire) != nullptr);
}

at::Tensor on_host(const at::Tensor& tensor) {
  NamedWork work(kHostWait);
  return tensor.cpu();
}

void set_kernels(c10::DeviceType device, const Kernels* kernels) {
  if (device != c10::kCPU && device != c10::kCUDA) {
    throw std::invalid_argument("kernels: expected those of the CPU or of CUDA");
  }
  (device == c10::kCPU ? cpu : cuda).store(kernels, std::memory_order_release);
}

bool reads_host_memory(c10::Device device) { return device.is_cpu() && cpu.load(std::memory_order_acquire) == nullptr; }

at::Tensor copied_to(c10::Device device, const void* values, int64_t count, at::ScalarType type) {
  // By way of libtorch's hooks: its CUDA half keeps such memory and knows by events when a copy has ended.
  at::Tensor here = at::empty({count}, at::TensorOptions(type).pinned_memory(device.is_cuda()));
  if (count > 0) std::memcpy(here.mutable_data_ptr(), values, here.nbytes());
  return device.is_cpu() ? here : here.to(device, /*non_blocking=*/true);
}

}  // namespace rkif
