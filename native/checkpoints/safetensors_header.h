// The header of a safetensors file: its JSON text checked against the format and against the size of the data that
// follows it.
#pragma once
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoints/safetensors.h"

namespace rkif {

struct SafetensorsHeader {
  // In the order of their data, which leaves no holes: each begins where the one before ends. `data` is not set.
  std::vector<StoredTensor> tensors;
  std::map<std::string, std::string> metadata;
};

// `text`: the header without its length; `data_length`: bytes that follow it in the file. Throws CheckpointInvalid;
// messages name the tensor where there is one and leave the file to the caller.
SafetensorsHeader parse_safetensors_header(std::string_view text, size_t data_length);

}  // namespace rkif
