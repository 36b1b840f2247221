// What the benchmark of the GPU's kernels needs of a device: memory, a stream, the kernels on it, and their times.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "kernels/kernels.h"

namespace rkif::benchmark {

inline void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

// Memory of the device.
template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t count) : count_(count) {
    check(cudaMalloc(reinterpret_cast<void**>(&data_), static_cast<size_t>(count) * sizeof(T)), "cudaMalloc");
  }
  explicit Buffer(const std::vector<T>& values) : Buffer(static_cast<int64_t>(values.size())) {
    check(cudaMemcpy(data_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { cudaFree(data_); }

  T* data() const { return data_; }
  // Waits for the device.
  std::vector<T> read() const {
    std::vector<T> values(static_cast<size_t>(count_));
    check(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize");
    check(cudaMemcpy(values.data(), data_, values.size() * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy");
    return values;
  }

 private:
  int64_t count_;
  T* data_ = nullptr;
};

// The first card, its default stream, and the kernels on it.
struct Device {
  std::string name;
  int multiprocessors = 0;
  int64_t memory = 0;
  std::unique_ptr<const Kernels> kernels;
};

// Throws std::runtime_error where there is no card.
Device open_device();

// Milliseconds of one call, the mean over as many as make the measurement long enough for the clock. What the host does
// in the calls is hidden behind the device's work or counts, as in a run.
double milliseconds(const std::function<void()>& run);

}  // namespace rkif::benchmark
