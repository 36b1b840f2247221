#include "models/embedding.h"

#include <ATen/ops/index_select.h>

#include "models/autograd.h"
#include "models/device.h"

namespace rkif {
namespace {

struct EmbeddingKept {
  at::Tensor ids;
  at::Tensor table;
};

// Adds the rows where they belong: a dense gradient of the table's size for every use of it would cost more than the
// rest of a small model's step.
struct EmbeddingFunction : torch::autograd::Function<EmbeddingFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& ids, const at::Tensor& table) {
    keep(context, EmbeddingKept{ids, table});
    return at::index_select(table, 0, ids);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    EmbeddingKept kept = take<EmbeddingKept>(context);
    const at::Tensor rows = gradients[0].contiguous();
    kernels_of(rows).add_rows(rows.size(0), rows.size(1), kept.ids.const_data_ptr<int32_t>(),
                              rows.const_data_ptr<float>(), kept.table.grad().mutable_data_ptr<float>());
    return {at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor embed(const at::Tensor& ids, const at::Tensor& table) {
  if (tracks(table)) return EmbeddingFunction::apply(ids, table);
  return at::index_select(table, 0, ids).to(at::kFloat);
}

}  // namespace rkif
