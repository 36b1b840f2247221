#include "checkpoints/safetensors_header.h"

#include <algorithm>
#include <unordered_set>

#include "checkpoints/json.h"
#include "checkpoints/stored_types.h"

namespace rkif {

namespace {

struct Entry {
  std::string name;
  std::string type;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;
};

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  const size_t shown = std::min<size_t>(shape.size(), 16);
  for (size_t i = 0; i < shown; ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + (shown < shape.size() ? ", ...]" : "]");
}

std::string range_text(const Entry& entry) {
  std::string text = "[";
  text += std::to_string(entry.begin);
  text += ", ";
  text += std::to_string(entry.end);
  return text + ")";
}

[[noreturn]] void refuse(const Entry& entry, const std::string& what) {
  throw CheckpointInvalid("tensor " + quoted(entry.name) + ": " + what);
}

std::vector<int64_t> read_shape(JsonReader& json, const Entry& entry) {
  std::vector<int64_t> shape;
  json.begin_array();
  while (json.next_element()) {
    const uint64_t size = json.read_uint64();
    if (size > INT64_MAX) refuse(entry, "dimension " + std::to_string(size) + " is beyond 2^63 - 1");
    shape.push_back(static_cast<int64_t>(size));
  }
  return shape;
}

void read_offsets(JsonReader& json, Entry& entry) {
  uint64_t offsets[2] = {};
  size_t count = 0;
  json.begin_array();
  while (json.next_element()) {
    if (count == 2) refuse(entry, "\"data_offsets\" has more than two elements, expected [begin, end]");
    offsets[count++] = json.read_uint64();
  }
  if (count != 2) refuse(entry, "\"data_offsets\" has " + std::to_string(count) + " elements, expected [begin, end]");
  entry.begin = offsets[0];
  entry.end = offsets[1];
}

Entry read_entry(JsonReader& json, std::string name) {
  Entry entry;
  entry.name = std::move(name);
  try {
    bool has_type = false, has_shape = false, has_offsets = false;
    std::unordered_set<std::string> seen;
    std::string field;
    json.begin_object();
    while (json.next_member(&field)) {
      if (!seen.insert(field).second) refuse(entry, "field " + quoted(field) + " appears twice");
      if (field == "dtype") {
        entry.type = json.read_string();
        has_type = true;
      } else if (field == "shape") {
        entry.shape = read_shape(json, entry);
        has_shape = true;
      } else if (field == "data_offsets") {
        read_offsets(json, entry);
        has_offsets = true;
      } else {
        json.skip_value();
      }
    }
    if (!has_type) refuse(entry, "has no \"dtype\"");
    if (!has_shape) refuse(entry, "has no \"shape\"");
    if (!has_offsets) refuse(entry, "has no \"data_offsets\"");
  } catch (const JsonError& error) {
    refuse(entry, std::string("header ") + error.what());
  }
  return entry;
}

// Of one tensor alone: its type, its size, its range.
void check_entry(const Entry& entry, size_t data_length) {
  const size_t bits = element_bits(entry.type);
  if (bits == 0) refuse(entry, "dtype " + quoted(entry.type) + " is unknown, expected one of " + known_types());
  uint64_t size = 1;
  bool overflow = false;
  for (const int64_t dimension : entry.shape) {
    overflow = overflow || __builtin_mul_overflow(size, static_cast<uint64_t>(dimension), &size);
  }
  if (overflow || __builtin_mul_overflow(size, uint64_t{bits}, &size)) {
    refuse(entry, "shape " + shape_text(entry.shape) + " of " + entry.type + " has more than 2^64 - 1 bits");
  }
  if (size % 8 != 0) {
    refuse(entry, "shape " + shape_text(entry.shape) + " of " + entry.type + " is not a whole number of bytes");
  }
  if (entry.begin > entry.end) refuse(entry, "\"data_offsets\" " + range_text(entry) + " run backwards");
  if (entry.end > data_length) {
    refuse(entry, "\"data_offsets\" " + range_text(entry) + " reach beyond the file, which holds " +
                      std::to_string(data_length) + " bytes of data; it may have been truncated");
  }
  if (entry.end - entry.begin != size / 8) {
    refuse(entry, "\"data_offsets\" " + range_text(entry) + " span " + std::to_string(entry.end - entry.begin) +
                      " bytes, expected " + std::to_string(size / 8) + " for shape " + shape_text(entry.shape) +
                      " of " + entry.type);
  }
}

// Of all tensors together: every byte of the data belongs to exactly one. `entries` are sorted by range.
void check_coverage(const std::vector<Entry>& entries, size_t data_length) {
  uint64_t covered = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    const Entry& entry = entries[i];
    if (entry.begin < covered) {
      refuse(entry, "\"data_offsets\" " + range_text(entry) + " overlap those of tensor " +
                        quoted(entries[i - 1].name) + ", " + range_text(entries[i - 1]));
    }
    if (entry.begin > covered) {
      refuse(entry, "\"data_offsets\" " + range_text(entry) + " leave a hole before them, expected a begin of " +
                        std::to_string(covered));
    }
    covered = entry.end;
  }
  if (covered != data_length) {
    throw CheckpointInvalid(std::to_string(data_length - covered) + " bytes are left after the last tensor: found " +
                            std::to_string(data_length) + " bytes of data, expected " + std::to_string(covered));
  }
}

std::map<std::string, std::string> read_metadata(JsonReader& json) {
  std::map<std::string, std::string> metadata;
  if (json.peek() == JsonReader::Kind::kNull) {
    json.read_null();
    return metadata;
  }
  try {
    std::string key;
    json.begin_object();
    while (json.next_member(&key)) {
      if (!metadata.emplace(key, json.read_string()).second) {
        throw CheckpointInvalid("\"__metadata__\": key " + quoted(key) + " appears twice");
      }
    }
  } catch (const JsonError& error) {
    throw CheckpointInvalid(std::string("\"__metadata__\": header ") + error.what());
  }
  return metadata;
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view text, size_t data_length) {
  SafetensorsHeader header;
  std::vector<Entry> entries;
  try {
    JsonReader json(text);
    std::unordered_set<std::string> seen;
    std::string name;
    json.begin_object();
    while (json.next_member(&name)) {
      if (!seen.insert(name).second) throw CheckpointInvalid("tensor " + quoted(name) + " appears twice in the header");
      if (name == "__metadata__") {
        header.metadata = read_metadata(json);
      } else {
        entries.push_back(read_entry(json, name));
        check_entry(entries.back(), data_length);
      }
    }
    json.finish();
  } catch (const JsonError& error) {
    throw CheckpointInvalid(std::string("header ") + error.what());
  }
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  check_coverage(entries, data_length);
  header.tensors.reserve(entries.size());
  for (Entry& entry : entries) {
    header.tensors.push_back({std::move(entry.name), std::move(entry.type), std::move(entry.shape), nullptr,
                              static_cast<size_t>(entry.end - entry.begin)});
  }
  return header;
}

}  // namespace rkif
