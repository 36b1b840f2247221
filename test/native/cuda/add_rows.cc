// Rows added to a table by their numbers: as libtorch does it on the CPU, and the same bits on the GPU.
#include "kernels/cuda/add_rows.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/index_add.h>

#include <random>

#include "cuda_test.h"

using namespace rkif;
using namespace rkif::test;

namespace {

// `different` ids at most, so that many rows go to the same one.
std::vector<int32_t> some_ids(int64_t count, int32_t table, int32_t different, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % different) * (table - 1) / std::max(1, different - 1);
  return ids;
}

std::vector<float> by_libtorch(const std::vector<int32_t>& ids, int64_t columns, const std::vector<float>& rows,
                               const std::vector<float>& table) {
  std::vector<float> result = table;
  std::vector<int32_t> places = ids;
  std::vector<float> values = rows;
  const int64_t count = static_cast<int64_t>(ids.size()), height = static_cast<int64_t>(table.size()) / columns;
  at::Tensor into = at::from_blob(result.data(), {height, columns}, at::kFloat);
  into.index_add_(0, at::from_blob(places.data(), {count}, at::kInt),
                  at::from_blob(values.data(), {count, columns}, at::kFloat));
  return result;
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST("add_rows: the bits of libtorch's index_add, with any number of threads") {
  for (int64_t columns : {1, 7, 64, 513}) {
    for (int64_t count : {0, 1, 300, 4000}) {
      const std::vector<int32_t> ids = some_ids(count, 50, 9, 1);
      const std::vector<float> rows = normal(count * columns, 2), table = normal(50 * columns, 3);
      const std::vector<float> expected = by_libtorch(ids, columns, rows, table);
      const int threads = at::get_num_threads();
      for (int some : {1, 2}) {
        at::set_num_threads(some);
        std::vector<float> into = table;
        add_rows(count, columns, ids.data(), rows.data(), into.data());
        CHECK(same(into, expected));
      }
      at::set_num_threads(threads);
    }
  }
}

TEST("cuda add_rows: the CPU's bits, whatever ids come again and in whatever order threads run") {
  const cuda::Context context = cuda_context();
  const auto check = [&](int64_t count, int64_t columns, int32_t table_rows, int32_t different) {
    const std::vector<int32_t> ids = some_ids(count, table_rows, different, 4);
    const std::vector<float> rows = normal(count * columns, 5), table = normal(table_rows * columns, 6);
    std::vector<float> expected = table;
    add_rows(count, columns, ids.data(), rows.data(), expected.data());
    std::vector<float> into = table;
    cuda::add_rows(context, count, columns, ids.data(), rows.data(), into.data());
    CHECK(same(into, expected));
  };
  check(0, 8, 4, 4);
  for (int64_t count : {1, 31, 257}) {
    for (int64_t columns : {1, 33}) {
      in_thread_orders([&] {
        check(count, columns, 40, 1);   // one row takes all
        check(count, columns, 40, 12);  // rows that come again, within a block's turn and beyond it
        check(count, columns, 400, 400);
      });
    }
  }
  // More columns than threads, and rows of an id in three turns of a block.
  check(600, 300, 5, 3);
  check(600, 2, 5, 2);
}
