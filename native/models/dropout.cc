#include "models/dropout.h"

#include <ATen/ops/add.h>
#include <ATen/ops/empty_like.h>

#include "models/autograd.h"
#include "models/profile.h"

namespace rkif {

void Dropout::apply(const at::Tensor& in, const at::Tensor& out) const {
  NamedWork work("rkif::dropout");
  int64_t count = in.size(0);
  TORCH_CHECK(count == static_cast<int64_t>(rows->records.size()), "dropout: ", count, " rows, but places of ",
              rows->records.size());
  std::vector<DropoutRow> keys(count);
  for (int64_t i = 0; i < count; ++i) keys[i] = dropout_row(site_key, rows->records[i], rows->positions[i]);
  dropout_rows(count, in.size(1), in.const_data_ptr<float>(), keys.data(), rate, out.mutable_data_ptr<float>());
}

namespace {

at::Tensor dropped(const at::Tensor& x, const Dropout& place) {
  at::Tensor in = x.contiguous();
  at::Tensor out = at::empty_like(in);
  place.apply(in, out);
  return out;
}

struct DropoutFunction : torch::autograd::Function<DropoutFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const Dropout& place) {
    keep(context, place);
    return dropped(x, place);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {dropped(gradients[0], take<Dropout>(context)), at::Tensor()};
  }
};

struct SublayerEnd {
  Dropout place;
  AbortFlag abort;
};

struct AddDroppedFunction : torch::autograd::Function<AddDroppedFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& residual, const at::Tensor& x,
                            const SublayerEnd& end) {
    at::Tensor sum = end.place.active() ? dropped(x, end.place).add_(residual) : at::add(x, residual);
    keep(context, end);
    return sum;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    SublayerEnd end = take<SublayerEnd>(context);
    check_abort(end.abort);
    at::Tensor to_residual, to_x;
    // Below the first trained weight one of the two is not on the graph.
    if (context->needs_input_grad(0)) to_residual = gradients[0];
    if (context->needs_input_grad(1)) to_x = end.place.active() ? dropped(gradients[0], end.place) : gradients[0];
    return {to_residual, to_x, at::Tensor()};
  }
};

}  // namespace

at::Tensor dropout(const at::Tensor& x, const Dropout& place) {
  if (!place.active()) return x;
  return tracks(x) ? DropoutFunction::apply(x, place) : dropped(x, place);
}

at::Tensor add_dropped(const at::Tensor& residual, const at::Tensor& x, const Dropout& place, const AbortFlag& abort) {
  check_abort(abort);
  SublayerEnd end{place, abort};
  if (tracks(residual) || tracks(x)) return AddDroppedFunction::apply(residual, x, end);
  return place.active() ? dropped(x, place).add_(residual) : at::add(x, residual);
}

}  // namespace rkif
