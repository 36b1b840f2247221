// Rows that go to rows of a table by their numbers: the gradient of an embedding.
#pragma once
#include <cstdint>

namespace rkif {

// into[ids[i]] += rows[i], for i = 0, 1, ... in this order. rows: [count, columns]; ids: [count], rows of `into`; all
// of it is in the memory that the values are in.
void add_rows(int64_t count, int64_t columns, const int32_t* ids, const float* rows, float* into);

}  // namespace rkif
