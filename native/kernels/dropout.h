// Counter-based dropout: whether an element is kept is a function of (seed, task, loop, step, site, record, position,
// column), so that masks belong to records and their positions, do not depend on threads, packing or batch splits, and
// are recomputed in the backward pass. Everything here is integer arithmetic: a GPU computes the same bits.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>

#include "kernels/host_device.h"

namespace rkif {

struct DropoutCounters {
  uint64_t seed = 0;
  uint32_t task = 0;
  uint32_t loop = 0;
  uint32_t step = 0;
};

// 64-bit finaliser of SplitMix64 (Steele, Lea, Flood 2014).
RKIF_HOST_DEVICE inline uint64_t mix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// 32-bit finaliser with full avalanche ("lowbias32", Wellons 2018); vectorises well.
RKIF_HOST_DEVICE inline uint32_t mix32(uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  x ^= x >> 16;
  return x;
}

// Key of one dropout place of one step.
RKIF_HOST_DEVICE inline uint64_t dropout_site_key(const DropoutCounters& c, uint32_t site) {
  uint64_t k = mix64(c.seed);
  k = mix64(k ^ ((uint64_t{c.task} << 32) | c.loop));
  return mix64(k ^ ((uint64_t{c.step} << 32) | site));
}

// Key of one row: a record's position (linear sites), or a record's (head, query) pair packed into `position`
// (attention).
struct DropoutRow {
  uint32_t a;
  uint32_t b;
};
RKIF_HOST_DEVICE inline DropoutRow dropout_row(uint64_t site_key, uint32_t record, uint64_t position) {
  uint64_t k = mix64(mix64(site_key ^ record) ^ position);
  return {static_cast<uint32_t>(k), static_cast<uint32_t>(k >> 32)};
}

// Elements are dropped with probability `threshold / 2^32`.
inline uint32_t dropout_threshold(double rate) { return static_cast<uint32_t>(rate * 4294967296.0); }

RKIF_HOST_DEVICE inline bool dropout_keeps(DropoutRow row, uint32_t column, uint32_t threshold) {
  return mix32((column ^ row.a) * 0x9e3779b1u + row.b) >= threshold;
}

// The keys of a matrix's rows: row i is of records[i], at positions[i].
struct DropoutKeys {
  uint64_t site_key = 0;
  const uint32_t* records = nullptr;
  const uint32_t* positions = nullptr;

  RKIF_HOST_DEVICE DropoutRow operator[](int64_t i) const { return dropout_row(site_key, records[i], positions[i]); }
};

// A contiguous matrix with a mask for each of its rows.
struct MaskedMatrix {
  int64_t rows;
  int64_t columns;
  DropoutKeys keys = {};
  double rate = 0;  // 0: no dropout, no keys
};

// What a rate means for every element.
struct DropoutMask {
  uint32_t threshold;
  float keep_scale;

  // Throws std::invalid_argument unless 0 <= rate < 1.
  explicit DropoutMask(double rate) {
    if (!(rate >= 0 && rate < 1)) {
      throw std::invalid_argument("dropout rate is " + std::to_string(rate) + ", expected 0 <= rate < 1");
    }
    threshold = dropout_threshold(rate);
    keep_scale = static_cast<float>(1.0 / (1.0 - rate));
  }
  bool drops() const { return threshold != 0; }
};

// One row on the calling thread: out[j] = keep ? in[j] / (1 - rate) : 0, and the same added to `out`. `out` may be
// `in`.
void drop_row(int64_t columns, const float* in, DropoutRow key, const DropoutMask& mask, float* out);
void add_dropped_row(int64_t columns, const float* in, DropoutRow key, const DropoutMask& mask, float* out);

// out[i, j] = keep ? in[i, j] / (1 - rate) : 0 for a [rows, columns] matrix. `out` may alias `in`. The backward
// pass is the same call on the gradient.
void dropout_rows(const MaskedMatrix& shape, const float* in, float* out);

}  // namespace rkif
