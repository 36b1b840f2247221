// How passes over [rows, columns] matrices are shared out among threads.
#pragma once
#include <algorithm>
#include <cstdint>

namespace rkif {

// Rows to give a thread at once: about 16,000 elements.
inline int64_t row_grain(int64_t columns) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, columns)); }

// Columns to give a thread at once where each column is summed over all rows: threads that split the columns leave
// every sum its order.
inline int64_t column_grain(int64_t rows) { return std::max<int64_t>(16, 16384 / std::max<int64_t>(1, rows)); }

}  // namespace rkif
