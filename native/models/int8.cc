#include "models/int8.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <vector>

#include "kernels/int8.h"
#include "kernels/row_grain.h"
#include "models/profile.h"

namespace rkif {
namespace {

// Rows widened at once: on the CPU about 2 MB, so that the product finds them in the cache; on a GPU enough to fill it.
int64_t block_rows(const at::Tensor& values) {
  if (!values.device().is_cpu()) return std::max<int64_t>(1024, (int64_t{1} << 25) / values.size(1));
  return std::clamp<int64_t>((int64_t{1} << 20) / values.size(1), 16, 4096);
}

// A row of the stored type as fp32: itself, or in `row`.
const float* as_float(const float* from, int64_t, float*) { return from; }
const float* as_float(const at::BFloat16* from, int64_t columns, float* row) {
  widen_bfloat16(columns, reinterpret_cast<const uint16_t*>(from), row);
  return row;
}
template <typename Stored>
const float* as_float(const Stored* from, int64_t columns, float* row) {
  for (int64_t j = 0; j < columns; ++j) row[j] = static_cast<float>(from[j]);
  return row;
}

template <typename Stored>
void quantise_all(const at::Tensor& weight, QuantisedRows& result) {
  const int64_t rows = weight.size(0), columns = weight.size(1);
  const Stored* from = weight.const_data_ptr<Stored>();
  int8_t* to = result.values.mutable_data_ptr<int8_t>();
  float* scales = result.scales.mutable_data_ptr<float>();
  std::atomic<int64_t> refused{-1};
  at::parallel_for(0, rows, row_grain(columns), [&](int64_t begin, int64_t end) {
    std::vector<float> row(columns);
    for (int64_t i = begin; i < end; ++i) {
      const float* values = as_float(from + i * columns, columns, row.data());
      if (!quantise_row(columns, values, to + i * columns, scales + i)) refused = i;
    }
  });
  if (refused >= 0) {
    throw std::invalid_argument("int8: row " + std::to_string(refused) +
                                " of a weight holds a value that is not finite; expected numbers");
  }
}

// Rows [begin, begin + count) as bf16.
at::Tensor widened(const QuantisedRows& weight, int64_t begin, int64_t count, at::Tensor& buffer) {
  NamedWork work("rkif::widen");
  if (!buffer.device().is_cpu()) {
    at::Tensor part = buffer.narrow(0, 0, count);
    part.copy_(weight.values.narrow(0, begin, count));  // exact
    return part;
  }
  const int64_t columns = weight.values.size(1);
  const int8_t* from = weight.values.const_data_ptr<int8_t>() + begin * columns;
  auto* to = reinterpret_cast<uint16_t*>(buffer.mutable_data_ptr<at::BFloat16>());
  at::parallel_for(0, count, row_grain(columns), [&](int64_t first, int64_t last) {
    widen_int8((last - first) * columns, from + first * columns, to + first * columns);
  });
  return buffer.narrow(0, 0, count);
}

at::Tensor block_buffer(const QuantisedRows& weight) {
  int64_t rows = std::min(weight.values.size(0), block_rows(weight.values));
  return at::empty({rows, weight.values.size(1)}, weight.values.options().dtype(at::kBFloat16));
}

}  // namespace

QuantisedRows quantise_rows(const at::Tensor& given) {
  at::Tensor weight = given.contiguous();
  QuantisedRows result{at::empty(weight.sizes(), at::kChar), at::empty({weight.size(0)}, at::kFloat)};
  switch (weight.scalar_type()) {
    case at::kFloat:
      quantise_all<float>(weight, result);
      break;
    case at::kBFloat16:
      quantise_all<at::BFloat16>(weight, result);
      break;
    case at::kHalf:
      quantise_all<at::Half>(weight, result);
      break;
    default:
      quantise_all<double>(weight.to(at::kDouble), result);
  }
  return result;
}

at::Tensor times_transposed(const at::Tensor& x, const QuantisedRows& weight) {
  const int64_t out = weight.values.size(0);
  at::Tensor narrow_x = x.to(at::kBFloat16);
  at::Tensor y = at::empty({x.size(0), out}, x.options().dtype(at::kFloat));
  at::Tensor buffer = block_buffer(weight);
  for (int64_t begin = 0; begin < out; begin += buffer.size(0)) {
    int64_t count = std::min(buffer.size(0), out - begin);
    at::Tensor part = at::mm(narrow_x, widened(weight, begin, count, buffer).t());
    at::Tensor to = y.narrow(1, begin, count);
    at::mul_out(to, part, weight.scales.narrow(0, begin, count));
  }
  return y;
}

at::Tensor times(const at::Tensor& y, const QuantisedRows& weight) {
  const int64_t out = weight.values.size(0);
  at::Tensor x = at::zeros({y.size(0), weight.values.size(1)}, y.options().dtype(at::kFloat));
  at::Tensor buffer = block_buffer(weight);
  for (int64_t begin = 0; begin < out; begin += buffer.size(0)) {
    int64_t count = std::min(buffer.size(0), out - begin);
    at::Tensor scaled = at::mul(y.narrow(1, begin, count), weight.scales.narrow(0, begin, count)).to(at::kBFloat16);
    x.add_(at::mm(scaled, widened(weight, begin, count, buffer)));
  }
  return x;
}

}  // namespace rkif
