#include "models/penalties.h"

#include <ATen/ops/mm.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/sign.h>
#include <ATen/ops/sum.h>

#include <algorithm>

#include "models/device.h"

namespace rkif {
namespace {

double norm_of(const at::Tensor& tensor) {
  const at::Tensor result = room_beside<Norm>(tensor, 1);
  kernels_of(tensor).norm(tensor.numel(), tensor.const_data_ptr<float>(), values_in<Norm>(result));
  return read_value<Norm>(result).norm;
}

// The Frobenius norm, with weight * its gradient added.
double add_norm_gradient(const at::Tensor& tensor, double weight) {
  const double norm = norm_of(tensor);
  if (norm > 0) tensor.grad().add_(tensor, weight / norm);
  return norm;
}

}  // namespace

double add_orthogonality_gradient(const Linear& layer, const Orthogonality& penalty) {
  double value = 0;
  if (penalty.l1 != 0 && layer.has_frozen()) {
    at::Tensor overlap = at::mm(layer.frozen_a, layer.a.t());  // [frozen r, r]
    const bool squared = penalty.form == Orthogonality::Form::kSquared;
    const at::Tensor derivative = squared ? overlap.mul(2) : at::sign(overlap);
    at::Tensor into = layer.a.grad();
    into.addmm_(derivative.t(), layer.frozen_a, 1, penalty.l1);
    const at::Tensor sum = at::sum(squared ? overlap.square_() : overlap.abs_(), at::kDouble);
    value += penalty.l1 * *on_host(sum).const_data_ptr<double>();
  }
  if (penalty.l2 != 0) {
    value += penalty.l2 * (add_norm_gradient(layer.a, penalty.l2) + add_norm_gradient(layer.b, penalty.l2));
  }
  return value;
}

double add_overlap_gradient(const Linear& layer, double weight) {
  if (weight == 0 || !layer.has_frozen()) return 0;
  constexpr int64_t kEntries = int64_t{1} << 20;  // of the layer's weight at a time: it may be large
  const int64_t out = layer.b.size(0), in = layer.a.size(1);
  const int64_t step = std::max<int64_t>(1, kEntries / in);
  at::Tensor into_a = layer.a.grad(), into_b = layer.b.grad();
  double sum = 0;
  for (int64_t start = 0; start < out; start += step) {
    const int64_t rows = std::min(step, out - start);
    at::Tensor b = layer.b.narrow(0, start, rows);
    at::Tensor past = at::mm(layer.frozen_b.narrow(0, start, rows), layer.frozen_a).mul_(layer.scale);
    at::Tensor product = at::mm(b, layer.a).mul_(layer.scale).mul_(past);
    const double norm = norm_of(product);
    sum += norm * norm;
    const at::Tensor derivative = product.mul_(past);  // half of that by W
    const double factor = 2 * weight * layer.scale;
    into_b.narrow(0, start, rows).addmm_(derivative, layer.a.t(), 1, factor);
    into_a.addmm_(b.t(), derivative, 1, factor);
  }
  return weight * sum;
}

}  // namespace rkif
