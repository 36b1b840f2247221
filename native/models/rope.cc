#include "models/rope.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <cmath>
#include <numbers>
#include <stdexcept>
#include <string>

#include "models/autograd.h"
#include "models/device.h"
#include "models/profile.h"

namespace rkif {
namespace {

at::Tensor rotated(const at::Tensor& x, int64_t heads, const RotaryPlaces& places, bool inverse) {
  NamedWork work("rkif::rotate");
  at::Tensor in = x.contiguous();
  at::Tensor out = at::empty_like(in);
  TORCH_CHECK(in.size(0) == places.positions.numel(), "rotate: ", in.size(0), " rows, but positions of ",
              places.positions.numel());
  kernels_of(in).rotate_rows(in.size(0), heads, in.size(1) / heads, in.const_data_ptr<float>(),
                             places.positions.const_data_ptr<int32_t>(), places.cosine.const_data_ptr<float>(),
                             places.sine.const_data_ptr<float>(), inverse, out.mutable_data_ptr<float>());
  return out;
}

struct RotateKept {
  int64_t heads;
  Rotation places;
};

struct RotateFunction : torch::autograd::Function<RotateFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, int64_t heads, const Rotation& places) {
    keep(context, RotateKept{heads, places});
    return rotated(x, heads, *places, false);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    RotateKept kept = take<RotateKept>(context);
    return {rotated(gradients[0], kept.heads, *kept.places, true), at::Tensor(), at::Tensor()};
  }
};

// Meta's scaling for Llama 3.1 (llama-models, reference implementation): wavelengths beyond positions / low_freq_factor
// are stretched by `factor`, those below positions / high_freq_factor kept, and mixed between.
double llama3(double frequency, const RopeConfig& c) {
  double wavelength = 2 * std::numbers::pi / frequency;
  double positions = static_cast<double>(c.positions);
  if (wavelength > positions / c.low_freq_factor) return frequency / c.factor;
  if (wavelength < positions / c.high_freq_factor) return frequency;
  double smooth = (positions / wavelength - c.low_freq_factor) / (c.high_freq_factor - c.low_freq_factor);
  return (1 - smooth) * frequency / c.factor + smooth * frequency;
}

}  // namespace

Rope::Rope(const RopeConfig& config, int64_t head_size) : config_(config), head_size_(head_size) {
  using Scaling = RopeConfig::Scaling;
  auto refuse = [](const std::string& what) { throw std::invalid_argument("rotary positions: " + what); };
  if (head_size < 2 || head_size % 2 != 0) {
    refuse("the head size is " + std::to_string(head_size) + ", expected an even number");
  }
  if (!(config.theta > 0)) refuse("theta is " + std::to_string(config.theta) + ", expected above 0");
  if (config.scaling == Scaling::kNone) return;
  if (!(config.factor > 0)) refuse("the factor is " + std::to_string(config.factor) + ", expected above 0");
  if (config.scaling == Scaling::kLinear) return;
  if (config.positions < 1) refuse("the original number of positions is missing");
  if (config.scaling == Scaling::kLlama3 &&
      !(config.low_freq_factor > 0 && config.high_freq_factor > config.low_freq_factor)) {
    refuse("the high frequency factor must be above the low one, and that above 0");
  }
}

std::vector<float> Rope::frequencies(int64_t longest) const {
  using Scaling = RopeConfig::Scaling;
  double theta = config_.theta;
  if (config_.scaling == Scaling::kDynamic) {
    // NTK-aware: theta grows so that the slowest wave covers the longer text.
    double positions = static_cast<double>(config_.positions);
    double length = std::max(static_cast<double>(longest), positions);
    double size = static_cast<double>(head_size_);
    theta *= std::pow(config_.factor * length / positions - (config_.factor - 1), size / (size - 2));
  }
  std::vector<float> result(head_size_ / 2);
  for (size_t i = 0; i < result.size(); ++i) {
    double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_size_));
    if (config_.scaling == Scaling::kLinear) frequency /= config_.factor;
    if (config_.scaling == Scaling::kLlama3) frequency = llama3(frequency, config_);
    result[i] = static_cast<float>(frequency);
  }
  return result;
}

void Rope::fill(int64_t longest) {
  std::vector<float> waves = frequencies(longest);
  int64_t half = head_size_ / 2;
  cosine_ = at::empty({longest, half}, at::kFloat);
  sine_ = at::empty({longest, half}, at::kFloat);
  float* cosine = cosine_.mutable_data_ptr<float>();
  float* sine = sine_.mutable_data_ptr<float>();
  for (int64_t position = 0; position < longest; ++position) {
    for (int64_t i = 0; i < half; ++i) {
      // The angle in fp32, as transformers computes it.
      float angle = static_cast<float>(position) * waves[i];
      cosine[position * half + i] = static_cast<float>(std::cos(static_cast<double>(angle)));
      sine[position * half + i] = static_cast<float>(std::sin(static_cast<double>(angle)));
    }
  }
  filled_ = longest;
}

Rotation Rope::places(const std::vector<int32_t>& positions, int64_t longest, Upload& upload) {
  bool exact = config_.scaling == RopeConfig::Scaling::kDynamic;
  if (exact ? longest != filled_ : longest > filled_) {
    // Grown by more than was asked for where that changes no value, as generation asks for one more each step.
    fill(exact ? longest : std::max<int64_t>(longest, std::max<int64_t>(2 * filled_, 256)));
  }
  for (at::Tensor* table : {&cosine_, &sine_}) {
    if (table->device() == upload.device()) continue;
    *table = copied_to(upload.device(), table->const_data_ptr(), table->numel(), at::kFloat).view(table->sizes());
  }
  auto places = std::make_shared<RotaryPlaces>(RotaryPlaces{{}, cosine_, sine_});
  upload.add(positions, places->positions);
  return places;
}

at::Tensor rotate(const at::Tensor& x, int64_t heads, const Rotation& places) {
  return tracks(x) ? RotateFunction::apply(x, heads, places) : rotated(x, heads, *places, false);
}

}  // namespace rkif
