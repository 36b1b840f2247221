#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "check.h"
#include "kernels/vector_ops.h"
#include "kernels_data.h"

using namespace rkif;
using namespace rkif::test;

TEST("parallel: the body of a parallel loop runs on two threads at a time") {
  with_threads(2, [] {
    std::mutex mutex;
    std::condition_variable changed;
    std::set<std::thread::id> threads;
    int waiting = 0;
    at::parallel_for(0, 2, 1, [&](int64_t begin, int64_t end) {
      std::unique_lock lock(mutex);
      threads.insert(std::this_thread::get_id());
      waiting += static_cast<int>(end - begin);
      changed.notify_all();
      // A serial loop runs both turns in one body, and does not wait here.
      changed.wait(lock, [&] { return waiting == 2; });
    });
    CHECK_EQUAL(threads.size(), size_t{2});
  });
}

TEST("vector_ops: difference, product, add_scaled, add_product and scale equal a plain loop, also in place") {
  for (int64_t n : lengths()) {
    const std::vector<float> a = normal(n, 1), b = normal(n, 2);
    std::vector<float> difference_expected(n), product_expected(n), sum_expected(n), scaled_expected(n);
    std::vector<float> quadratic_expected(n);
    for (int64_t i = 0; i < n; ++i) {
      difference_expected[i] = a[i] - b[i];
      product_expected[i] = a[i] * b[i];
      // The product is rounded before the addition.
      volatile float part = 0.3f * b[i];
      sum_expected[i] = a[i] + part;
      volatile float scaled = 0.3f * a[i];
      volatile float both = scaled * b[i];
      quadratic_expected[i] = a[i] + both;
      scaled_expected[i] = a[i] * 0.3f;
    }
    std::vector<float> out(n);
    difference(n, a.data(), b.data(), out.data());
    CHECK(same_bits(out, difference_expected));
    out = a;
    difference(n, out.data(), b.data(), out.data());
    CHECK(same_bits(out, difference_expected));
    out = b;
    difference(n, a.data(), out.data(), out.data());
    CHECK(same_bits(out, difference_expected));
    product(n, a.data(), b.data(), out.data());
    CHECK(same_bits(out, product_expected));
    out = a;
    add_scaled(n, out.data(), b.data(), 0.3f);
    CHECK(same_bits(out, sum_expected));
    out = a;
    add_product(n, out.data(), a.data(), b.data(), 0.3f);
    CHECK(same_bits(out, quadratic_expected));
    out = a;
    add_product(n, out.data(), out.data(), b.data(), 0.3f);
    CHECK(same_bits(out, quadratic_expected));
    out = a;
    scale(n, out.data(), 0.3f);
    CHECK(same_bits(out, scaled_expected));
  }
}

TEST("vector_ops: x - x is 0 everywhere, in place") {
  std::vector<float> x = normal(1000, 3);
  difference(1000, x.data(), x.data(), x.data());
  CHECK(same_bits(x, std::vector<float>(1000, 0.0f)));
}

TEST("norm: equals a sum in long double") {
  for (int64_t n : lengths()) {
    const std::vector<float> x = scores(n, 4);
    long double sum = 0;
    for (float value : x) sum += static_cast<long double>(value) * value;
    const double expected = static_cast<double>(std::sqrt(sum));
    const Norm result = norm(n, x.data());
    CHECK_NEAR(result.norm, expected, expected * 1e-13);
    CHECK_EQUAL(result.non_finite, 0);
  }
}

TEST("norm: the largest and the smallest numbers neither overflow nor vanish") {
  const std::vector<float> large(1000, std::numeric_limits<float>::max());
  CHECK_NEAR(norm(1000, large.data()).norm / std::numeric_limits<float>::max(), std::sqrt(1000.0), 1e-12);
  const std::vector<float> small(1000, std::numeric_limits<float>::denorm_min());
  CHECK_NEAR(norm(1000, small.data()).norm / std::numeric_limits<float>::denorm_min(), std::sqrt(1000.0), 1e-12);
  CHECK_EQUAL(norm(0, nullptr).norm, 0.0);
}

TEST("norm: counts NaN and infinities and leaves them out") {
  for (int64_t n : {7, 1000, 65537}) {
    std::vector<float> x = normal(n, 5);
    x[0] = kNaN;
    x[3] = -kInfinity;
    x[n - 1] = kInfinity;
    double sum = 0;
    for (float value : x) sum += std::isfinite(value) ? static_cast<double>(value) * value : 0;
    const Norm result = norm(n, x.data());
    CHECK_EQUAL(result.non_finite, 3);
    CHECK_NEAR(result.norm, std::sqrt(sum), 1e-12 * std::sqrt(sum));
  }
}

TEST("norm: the same bits with one and two threads") {
  for (int64_t n : lengths()) {
    const std::vector<float> x = normal(n, 6);
    double one = 0, two = 0;
    with_threads(1, [&] { one = norm(n, x.data()).norm; });
    with_threads(2, [&] { two = norm(n, x.data()).norm; });
    CHECK_EQUAL(one, two);
  }
}
