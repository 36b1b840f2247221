// A GPU made ready for models: what of libtorch's state and settings that takes.
#pragma once
#include <c10/core/Device.h>

#include <stdexcept>

#include "kernels/kernels.h"

namespace rkif {

// A GPU was asked for, and this process cannot use it. The message says what to do.
struct GpuUnavailable : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// From now on models may be on `device`, with these kernels, which outlive every use. libtorch's CUDA half is open.
// Nothing has changed where it throws GpuUnavailable.
void open_gpu(at::Device device, const Kernels* kernels);

// Throws GpuUnavailable where `device` is a GPU and none has been opened.
void require_open(at::Device device);

// Throws GpuUnavailable where libtorch looked for its CUDA half when it was not open, as it does once per process, in
// the first backward pass at the latest, or where the threads of its backward passes were started without this card.
void require_found(at::Device device);

// Products of fp32 values are fp32's, not TF32's, and products of bf16 values are added up in fp32 throughout, whatever
// libtorch's defaults and the environment say.
void set_product_precision();

}  // namespace rkif
