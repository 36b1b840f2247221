#include "models/embedding.h"

#include <ATen/ops/index_add.h>
#include <ATen/ops/index_select.h>

#include "models/autograd.h"

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
    at::Tensor into = kept.table.grad();
    into.index_add_(0, kept.ids, gradients[0]);
    return {at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor embed(const at::Tensor& ids, const at::Tensor& table) {
  if (tracks(table)) return EmbeddingFunction::apply(ids, table);
  return at::index_select(table, 0, ids).to(at::kFloat);
}

}  // namespace rkif
