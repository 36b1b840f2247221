#include "models/prepacked.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>

#include <optional>
#include <string_view>

namespace rkif {
namespace {

using Reorder = at::Tensor(const at::Tensor&, std::optional<int64_t>);
using Product = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, std::string_view,
                           c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);
using Supported = bool();

// Operators that libtorch has for its compiler; a build without oneDNN has none.
template <class Signature>
std::optional<c10::TypedOperatorHandle<Signature>> find(const char* name) {
  auto found = c10::Dispatcher::singleton().findSchema({name, ""});
  if (!found) return std::nullopt;
  return found->typed<Signature>();
}

const auto& reorder() {
  static const auto handle = find<Reorder>("mkldnn::_reorder_linear_weight");
  return handle;
}

const auto& product() {
  static const auto handle = find<Product>("mkldnn::_linear_pointwise");
  return handle;
}

at::Tensor packed(const at::Tensor& weight) { return reorder()->call(weight, std::nullopt); }

at::Tensor product_with(const at::Tensor& x, const at::Tensor& weight) {
  // They have no gradient of their own: ours is written by hand.
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return product()->call(x, weight, std::nullopt, "none", c10::List<std::optional<at::Scalar>>(), "");
}

}  // namespace

bool can_prepack(at::ScalarType type) {
  if (!reorder() || !product()) return false;
  if (type == at::kFloat) return true;
  static const auto bf16 = find<Supported>("mkldnn::_is_mkldnn_bf16_supported");
  return type == at::kBFloat16 && bf16 && bf16->call();
}

Prepacked::Prepacked(const at::Tensor& weight) : forward_(packed(weight.detach())) {}

at::Tensor Prepacked::times_transposed(const at::Tensor& x) const { return product_with(x, forward_); }

at::Tensor Prepacked::plain() const { return forward_.to_dense(); }

void Prepacked::prepare_times() const {
  const std::lock_guard<std::mutex> lock(making_);
  if (backward_.defined()) return;
  at::NoGradGuard no_grad;
  backward_ = packed(plain().t().contiguous());
}

at::Tensor Prepacked::times(const at::Tensor& y) const {
  prepare_times();
  return product_with(y, backward_);
}

}  // namespace rkif
