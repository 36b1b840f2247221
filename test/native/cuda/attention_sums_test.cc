// How the GPU's attention adds up the gradient of its bias: the host's part of it, and the last kernel.
#include "cuda_test.h"
#include "kernels/cuda/attention_parts.h"

using namespace rkif;
using namespace rkif::test;

TEST("cuda attention: sums by offset are added in as many launches as memory allows, up to the table's ends") {
  const cuda::Context context = cuda_context();
  constexpr int64_t kReach = 130, kColumns = 2 * kReach - 1;
  const std::vector<AttentionSpan> spans = {{0, 130, 0, 130, 1}, {130, 5, 130, 5, 2}};
  cuda::AttentionProblem problem{};
  problem.shape = {3, 8, 24, 24, 24, 1, false};
  problem.bias.reach = kReach;
  for (int64_t bytes : {1, 5000, 1 << 20}) {
    std::vector<float> gradient(3 * kColumns, 0.5f), expected = gradient;
    int launches = 0, tiles = 0;
    cuda::launch_query_gradients(
        context, problem, spans, 32, gradient.data(),
        [&](int first, int count, const cuda::OffsetSums& sums) {
          CHECK_EQUAL(first, tiles);
          ++launches;
          tiles += count;
          for (int tile = 0; tile < count; ++tile) {
            // The first lies before the table, the last behind it.
            sums.first_offsets[tile] = 40 * (first + tile) - 140;
            sums.counts[tile] = 64;
            for (int64_t i = 0; i < 3 * 64; ++i) {
              const int64_t head = i / 64, column = sums.first_offsets[tile] + i % 64 + kReach - 1;
              const float x = static_cast<float>((first + tile) * 100 + i);
              sums.entries[(tile * 3 + head) * sums.width + i % 64] = x;
              if (column >= 0 && column < kColumns) expected[head * kColumns + column] += x;
            }
          }
        },
        bytes);
    CHECK_EQUAL(tiles, 6);
    CHECK_EQUAL(launches, bytes == 1 ? 6 : bytes == 5000 ? 3 : 1);
    CHECK(same_bits(gradient, expected));
  }
}
