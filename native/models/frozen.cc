#include "models/frozen.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <stdexcept>
#include <string>

namespace rkif {
namespace {

struct Pair {
  at::Tensor a;  // [adapters * r, in]
  at::Tensor b;  // [out, adapters * r]
};

void replace(const std::vector<Linear*>& layers, std::vector<Pair> pairs) {
  for (size_t i = 0; i < layers.size(); ++i) {
    layers[i]->frozen_a = std::move(pairs[i].a);
    layers[i]->frozen_b = std::move(pairs[i].b);
  }
}

int64_t parameter_count(const std::vector<Linear*>& layers) {
  int64_t count = 0;
  for (const Linear* layer : layers) count += layer->a.numel() + layer->b.numel();
  return count;
}

int64_t adapter_count(const std::vector<Linear*>& layers) {
  if (layers.empty() || !layers.front()->has_frozen()) return 0;
  return layers.front()->frozen_a.size(0) / layers.front()->a.size(0);
}

}  // namespace

void freeze_adapters(const std::vector<Linear*>& layers) {
  std::vector<Pair> pairs;
  for (const Linear* layer : layers) {
    at::Tensor a = layer->a.detach(), b = layer->b.detach();
    if (layer->has_frozen()) {
      pairs.push_back({at::cat({layer->frozen_a, a}, 0), at::cat({layer->frozen_b, b}, 1)});
    } else {
      pairs.push_back({a.clone(), b.clone()});
    }
  }
  replace(layers, std::move(pairs));
}

at::Tensor frozen_values(const std::vector<Linear*>& layers) {
  const int64_t adapters = adapter_count(layers);
  const at::TensorOptions options = layers.empty() ? at::TensorOptions(at::kFloat) : layers.front()->a.options();
  at::Tensor values = at::empty({adapters * parameter_count(layers)}, options);
  int64_t offset = 0;
  auto append = [&](const at::Tensor& part) {
    values.narrow(0, offset, part.numel()).view(part.sizes()).copy_(part);
    offset += part.numel();
  };
  for (int64_t i = 0; i < adapters; ++i) {
    for (const Linear* layer : layers) {
      const int64_t r = layer->a.size(0);
      append(layer->frozen_a.narrow(0, i * r, r));
      append(layer->frozen_b.narrow(1, i * r, r));
    }
  }
  return values;
}

void set_frozen_values(const std::vector<Linear*>& layers, const at::Tensor& values) {
  const int64_t length = parameter_count(layers);
  if (length == 0 ? values.numel() > 0 : values.numel() % length != 0) {
    throw std::invalid_argument("frozen adapters: found " + std::to_string(values.numel()) +
                                " values, expected a multiple of the parameters' number, " + std::to_string(length));
  }
  const int64_t adapters = length == 0 ? 0 : values.numel() / length;
  std::vector<Pair> pairs;
  int64_t place = 0;  // of the layer within an adapter
  for (const Linear* layer : layers) {
    std::vector<at::Tensor> a, b;
    for (int64_t i = 0; i < adapters; ++i) {
      const int64_t start = i * length + place;
      a.push_back(values.narrow(0, start, layer->a.numel()).view(layer->a.sizes()));
      b.push_back(values.narrow(0, start + layer->a.numel(), layer->b.numel()).view(layer->b.sizes()));
    }
    pairs.push_back(adapters == 0 ? Pair{} : Pair{at::cat(a, 0), at::cat(b, 1)});
    place += layer->a.numel() + layer->b.numel();
  }
  replace(layers, std::move(pairs));
}

}  // namespace rkif
