// Sums of a few arrays against a plain loop.
#include "check.h"
#include "kernels/sum.h"
#include "kernels_data.h"

using namespace rkif;
using namespace rkif::test;

TEST("sum: of one to three arrays in their order, in fp32 and bf16, in place too") {
  constexpr int64_t n = 100003;  // more than one thread's
  std::vector<float> x[kMostParts];
  std::vector<Bfloat16> narrow[kMostParts];
  Parts<float> parts;
  Parts<Bfloat16> narrow_parts;
  for (int k = 0; k < kMostParts; ++k) {
    x[k] = normal(n, static_cast<uint32_t>(k + 1));
    narrow[k] = rounded(x[k]);
    parts.at[k] = x[k].data();
    narrow_parts.at[k] = narrow[k].data();
  }
  for (int count = 1; count <= kMostParts; ++count) {
    parts.count = narrow_parts.count = count;
    std::vector<float> expected = x[0], of_narrow(n);
    for (int64_t i = 0; i < n; ++i) {
      of_narrow[i] = widened(narrow[0][i]);
      for (int k = 1; k < count; ++k) {
        expected[i] += x[k][i];
        of_narrow[i] += widened(narrow[k][i]);
      }
    }
    std::vector<float> found(n), in_place = x[0];
    sum_parts(n, narrow_parts, found.data());
    CHECK(found == of_narrow);
    sum_parts(n, parts, found.data());
    CHECK(found == expected);
    Parts<float> own = parts;
    own.at[0] = in_place.data();
    sum_parts(n, own, in_place.data());
    CHECK(in_place == expected);
  }
}
