// What attention refuses, on any device.
#pragma once
#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/attention.h"

namespace rkif {

inline void check_attention(const AttentionShape& shape, const std::vector<AttentionSpan>& spans,
                            const OffsetBias& bias, const AttentionDropout& dropout) {
  auto refuse = [](size_t index, const std::string& what) {
    throw std::invalid_argument("attention: span " + std::to_string(index) + " " + what);
  };
  if (!(dropout.rate >= 0 && dropout.rate < 1)) {
    throw std::invalid_argument("attention: dropout rate is " + std::to_string(dropout.rate) +
                                ", expected 0 <= rate < 1");
  }
  if (shape.key_heads != 0 && (shape.key_heads < 1 || shape.heads % shape.key_heads != 0)) {
    throw std::invalid_argument("attention: " + std::to_string(shape.heads) + " heads cannot share " +
                                std::to_string(shape.key_heads) + " heads of keys in groups of one size");
  }
  if (shape.row_heads != 1 &&
      (shape.row_heads < 1 || shape.heads != 1 || shape.causal || shape.window != 0 || bias.table != nullptr)) {
    throw std::invalid_argument("attention: rows of " + std::to_string(shape.row_heads) + " heads in " +
                                std::to_string(shape.heads) +
                                ", expected one, not causal, without a window and a bias");
  }
  for (size_t i = 0; i < spans.size(); i++) {
    const AttentionSpan& span = spans[i];
    const int64_t keys = span.keys();
    if (keys < 1) refuse(i, "has no keys");
    if (shape.causal && span.query_length > keys) {
      refuse(i, "is causal and has " + std::to_string(span.query_length) + " queries, more than its " +
                    std::to_string(keys) + " keys");
    }
    int64_t last = shape.causal ? keys : span.query_length;
    if (bias.table != nullptr && bias.reach < std::max(keys, last)) {
      refuse(i, "reaches position " + std::to_string(std::max(keys, last) - 1) + ", the bias table only " +
                    std::to_string(bias.reach - 1));
    }
  }
}

inline void check_attention_backward(const AttentionShape& shape, const std::vector<AttentionSpan>& spans,
                                     const OffsetBias& bias, const AttentionDropout& dropout) {
  check_attention(shape, spans, bias, dropout);
  for (const AttentionSpan& span : spans) {
    if (span.prefix_length != 0) throw std::invalid_argument("attention: there are no gradients through a prefix");
  }
}

}  // namespace rkif
