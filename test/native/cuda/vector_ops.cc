#include "kernels/cuda/vector_ops.h"

#include <functional>

#include "slices.h"

using namespace rkif;
using namespace rkif::test;

TEST("cuda vector_ops: the CPU's bits, whatever the alignment") {
  const cuda::Context context = cuda_context();
  for (int64_t n : cuda_lengths()) {
    const std::vector<float> x = normal(n, 1), a = normal(n, 2), b = normal(n, 3);
    // All alike, and each its own.
    for (const auto& [of_x, of_a, of_b] : {std::array{0, 0, 0}, std::array{3, 3, 3}, std::array{0, 1, 2}}) {
      in_thread_orders([&] {
        Slice<float> sx(x, of_x), sa(a, of_a), sb(b, of_b);
        std::vector<float> expected = x;
        cuda::difference(context, n, sa.data(), sb.data(), sx.data());
        difference(n, a.data(), b.data(), expected.data());
        CHECK(same_bits(sx.values(), expected));
        cuda::add_scaled(context, n, sx.data(), sa.data(), 0.37f);
        add_scaled(n, expected.data(), a.data(), 0.37f);
        CHECK(same_bits(sx.values(), expected));
        cuda::add_product(context, n, sx.data(), sa.data(), sb.data(), -1.7f);
        add_product(n, expected.data(), a.data(), b.data(), -1.7f);
        CHECK(same_bits(sx.values(), expected));
        cuda::scale(context, n, sx.data(), 0.1f);
        scale(n, expected.data(), 0.1f);
        CHECK(same_bits(sx.values(), expected));
        cuda::product(context, n, sx.data(), sb.data(), sx.data());
        product(n, expected.data(), b.data(), expected.data());
        CHECK(same_bits(sx.values(), expected));
      });
    }
  }
}

TEST("cuda norm: the CPU's within rounding of doubles, the same in every order, without what is not finite") {
  const cuda::Context context = cuda_context();
  for (int64_t n : cuda_lengths()) {
    for (int offset : {0, 1}) {
      std::vector<float> x = scores(n, 4);
      if (n > 31) {
        x[0] = kNaN;
        x[n / 2] = -kInfinity;
        x[n - 1] = kInfinity;
        x[7] = std::numeric_limits<float>::max();
      }
      const Norm expected = norm(n, x.data());
      double first = -1;
      in_thread_orders([&] {
        Slice<float> slice(x, offset);
        Norm found{-1, -1};
        cuda::norm(context, n, slice.data(), &found);
        CHECK_EQUAL(found.non_finite, expected.non_finite);
        CHECK_NEAR(found.norm, expected.norm, 1e-14 * expected.norm);
        if (first >= 0) CHECK_EQUAL(found.norm, first);
        first = found.norm;
      });
    }
  }
}
