// Rotary positions: frequencies from the configuration, tables of cosines and sines, and the rotation as a
// differentiable operation.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "models/upload.h"

namespace rkif {

struct RopeConfig {
  enum class Scaling { kNone, kLinear, kDynamic, kLlama3 };
  double theta = 10000;
  Scaling scaling = Scaling::kNone;
  double factor = 1;
  double low_freq_factor = 1;   // llama3
  double high_freq_factor = 4;  // llama3
  int64_t positions = 0;        // dynamic: the longest text without scaling; llama3: that of the original model
};

// Where the rows of a packed matrix stand, and the table for them.
struct RotaryPlaces {
  at::Tensor positions;     // int32, one for each row
  at::Tensor cosine, sine;  // [positions, head size / 2]
};
using Rotation = std::shared_ptr<const RotaryPlaces>;

class Rope {
 public:
  // Throws std::invalid_argument where the numbers make no sense.
  Rope(const RopeConfig& config, int64_t head_size);

  // `longest`: tokens of the longest sequence so far, which decides where the table ends and, for dynamic scaling, what
  // it holds (as transformers does it: the longest sequence of a call decides for all). The positions go with the
  // upload, to whose device the tables go as well.
  Rotation places(const std::vector<int32_t>& positions, int64_t longest, Upload& upload);

 private:
  // theta^(-2i / head size) after scaling, in fp32 as transformers keeps them.
  std::vector<float> frequencies(int64_t longest) const;
  void fill(int64_t longest);

  const RopeConfig config_;
  const int64_t head_size_;
  int64_t filled_ = 0;  // positions in the tables
  at::Tensor cosine_, sine_;
};

// x: [rows, heads * head size] -> the same with every head rotated to its row's position.
at::Tensor rotate(const at::Tensor& x, int64_t heads, const Rotation& places);

}  // namespace rkif
