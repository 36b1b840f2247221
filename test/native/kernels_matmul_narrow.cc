// Products of bf16 pairs against sums of whole numbers, which bf16 and fp32 hold exactly.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "check.h"
#include "kernels/bfloat16.h"
#include "kernels/matmul_narrow.h"
#include "kernels_data.h"

using namespace rkif;
using namespace rkif::test;

namespace {

std::vector<float> whole_numbers(int64_t count, std::mt19937& generator) {
  std::uniform_int_distribution<int> number(-100, 100);
  std::vector<float> x(count);
  for (float& value : x) value = static_cast<float>(number(generator));
  return x;
}

std::vector<float> turned(int64_t rows, int64_t columns, const std::vector<float>& x) {
  std::vector<float> result(x.size());
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < columns; j++) result[j * rows + i] = x[i * columns + j];
  }
  return result;
}

// What no function should leave where it writes.
constexpr Pair kStale = 0xffffffff;

}  // namespace

TEST("bf16 products: all layouts of both operands, for all kinds of shapes") {
  if (!multiplies_bfloat16()) return;
  std::mt19937 generator(1);
  for (const auto& [m, n, k] :
       {std::array<int64_t, 3>{48, 112, 64}, {163, 100, 64}, {7, 33, 5}, {61, 15, 130}, {3, 17, 31}, {1, 1, 1}}) {
    const std::vector<float> a = whole_numbers(m * k, generator), b = whole_numbers(k * n, generator);
    const std::vector<float> a_turned = turned(m, k, a), b_turned = turned(k, n, b);
    const int64_t depth = pairs_of(k);
    std::vector<Pair> by_row(m * depth, kStale), by_column(m * depth, kStale), rows_of_b(n * depth, kStale);
    narrow_rows(m, k, a.data(), k, by_row.data());
    narrow_columns(m, k, a_turned.data(), m, by_column.data());
    std::vector<Pair> packed(packed_floats(depth, n), kStale), of_turned = packed, of_narrow = packed;
    pack_narrow(k, n, b.data(), n, packed.data());
    narrow_rows(n, k, b_turned.data(), k, rows_of_b.data());
    pack_pairs_transposed(depth, n, rows_of_b.data(), depth, of_turned.data());
    CHECK(packed == of_turned);
    pack_narrow(k, n, rounded(b).data(), n, of_narrow.data());
    CHECK(packed == of_narrow);
    // Columns in the middle of wider rows.
    std::vector<Bfloat16> wide(k * (n + 5));
    for (int64_t p = 0; p < k; p++) {
      for (int64_t j = 0; j < n; j++) store(b[p * n + j], wide[p * (n + 5) + 3 + j]);
    }
    std::fill(of_narrow.begin(), of_narrow.end(), kStale);
    pack_narrow(k, n, wide.data() + 3, n + 5, of_narrow.data());
    CHECK(packed == of_narrow);
    for (const Left<Pair>& left : {Left<Pair>{by_row.data(), depth, 1}, Left<Pair>{by_column.data(), 1, m}}) {
      std::vector<float> c(m * n, 5);
      matmul_narrow(m, n, depth, left, packed_operand<Pair>(packed.data(), depth), c.data(), n, true);
      for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
          double sum = 5;
          for (int64_t p = 0; p < k; p++) sum += double{a[i * k + p]} * b[p * n + j];
          CHECK(c[i * n + j] == sum);
        }
      }
    }
  }
}

TEST("bf16 products: to the nearest, ties to even, and what is no number stays none") {
  if (!multiplies_bfloat16()) return;
  const std::vector<float> x = {1 + 0x1p-8f, 1 + 0x3p-8f, -1 - 0x1.01p-8f, std::numeric_limits<float>::infinity(),
                                std::numeric_limits<float>::quiet_NaN()};
  std::vector<Pair> pairs(3);
  narrow_rows(1, 5, x.data(), 5, pairs.data());
  for (size_t i = 0; i < x.size(); i++) {
    Bfloat16 expected;
    store(x[i], expected);
    const auto found = static_cast<uint16_t>(pairs[i / 2] >> (i % 2 * 16));
    if (std::isnan(x[i])) {
      CHECK(std::isnan(widened(Bfloat16{found})));
    } else {
      CHECK(found == expected.bits);
    }
  }
  CHECK(pairs[2] >> 16 == 0);
}
