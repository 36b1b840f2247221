// What can be said about GPUs without one: the errors, the settings, and which card kernels are launched on.
#include <ATen/Context.h>
#include <ATen/core/TensorBody.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <c10/core/impl/FakeGuardImpl.h>

#include <atomic>
#include <string>
#include <thread>

#include "check.h"
#include "models/device.h"
#include "models/gpu.h"
#include "models/linear.h"

using namespace rkif;

namespace {

using FakeCards = c10::impl::FakeGuardImpl<c10::DeviceType::CUDA>;

// For as long as it lives, libtorch knows eight cards, and models have kernels for them.
class Cards {
 public:
  Cards() : before_(registered().exchange(&cards_)) { set_kernels(at::kCUDA, &cpu_kernels()); }
  Cards(const Cards&) = delete;
  ~Cards() {
    set_kernels(at::kCUDA, nullptr);
    registered() = before_;
  }

 private:
  static std::atomic<const c10::impl::DeviceGuardImplInterface*>& registered() {
    return c10::impl::device_guard_impl_registry[static_cast<size_t>(c10::DeviceType::CUDA)];
  }
  FakeCards cards_;
  const c10::impl::DeviceGuardImplInterface* before_;
};

// A tensor that says to be on a card; its values are nowhere.
at::Tensor tensor_on(c10::DeviceIndex card) {
  static float value = 0;
  c10::DataPtr data(&value, c10::Device(at::kCUDA, card));
  c10::Storage storage(c10::Storage::use_byte_size_t(), sizeof(float), std::move(data));
  return at::detail::make_tensor<c10::TensorImpl>(std::move(storage), c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                                  caffe2::TypeMeta::Make<float>());
}

}  // namespace

TEST("gpu: kernels are launched on the card of the tensor, on every thread") {
  const Cards cards;
  const auto check = [] {
    for (c10::DeviceIndex card : {2, 0, 7}) {
      kernels_of(tensor_on(card));
      CHECK_EQUAL(int{FakeCards::getDeviceIndex()}, int{card});
    }
  };
  check();
  std::string failure;
  std::thread([&] {
    try {
      CHECK_EQUAL(int{FakeCards::getDeviceIndex()}, 0);
      check();
    } catch (const std::exception& error) {
      failure = error.what();
    }
  }).join();
  CHECK_EQUAL(failure, "");
}

TEST("gpu: a process that libtorch gave no CUDA half is told what to do, and keeps computing on the CPU") {
  // As the first backward pass does.
  CHECK(!at::detail::getCUDAHooks().isBuilt());
  CHECK_THROWS(require_found(at::Device(at::kCUDA, 0)), GpuUnavailable, "before anything is computed on the CPU");
  CHECK_THROWS(open_gpu(at::Device(at::kCUDA, 0), &cpu_kernels()), GpuUnavailable, "in a process of its own");
  const Cards cards;
  set_kernels(at::kCUDA, nullptr);
  CHECK_THROWS(open_gpu(at::Device(at::kCUDA, 0), &cpu_kernels()), GpuUnavailable, "looks only once");
  CHECK_THROWS(kernels_of(tensor_on(0)), std::logic_error, "no kernels for device cuda:0");
}

TEST("models: the head's bf16 copy is made once, and shares nothing with the weight that chooses tokens") {
  Linear head;
  head.weight = at::arange(12, at::kFloat).div_(7).view({4, 3});
  const at::Tensor before = head.weight.clone();
  const at::Tensor& rounded = head.rounded();
  CHECK(rounded.scalar_type() == at::kBFloat16);
  CHECK(at::equal(rounded, before.to(at::kBFloat16)) && at::equal(head.weight, before));
  CHECK(head.rounded().const_data_ptr() == rounded.const_data_ptr());
}

TEST("gpu: products are not rounded behind the models' back, whatever was set before") {
  at::Context& context = at::globalContext();
  context.setAllowTF32CuBLAS(true);
  context.setAllowBF16ReductionCuBLAS(true);
  set_product_precision();
  CHECK(!context.allowTF32CuBLAS());
  CHECK(context.float32MatmulPrecision() == at::Float32MatmulPrecision::HIGHEST);
  CHECK(context.allowBF16ReductionCuBLAS() == at::CuBLASReductionOption::DisallowReducedPrecisionAllowSplitK);
}
