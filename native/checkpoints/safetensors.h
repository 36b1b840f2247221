// Reader and writer of the safetensors format (huggingface/safetensors, format description in its README). The reader
// maps the file and checks it as a whole when opening: what it accepts and refuses is listed in docs/safetensors.md.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace rkif {

// The file cannot be read or breaks the format; the message names the file and says what was found and expected.
struct CheckpointInvalid : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct StoredTensor {
  std::string name;
  std::string type;  // "F32", "BF16", ...
  std::vector<int64_t> shape;
  const std::byte* data;  // in the map; may not be aligned to the element size
  size_t byte_length;
};

class SafetensorsFile {
 public:
  // Maps the file, or, with copy, reads it into memory (then truncation of the file by somebody else cannot hurt).
  // Throws CheckpointInvalid.
  static std::shared_ptr<SafetensorsFile> open(const std::string& path, bool copy = false);
  virtual ~SafetensorsFile() = default;

  virtual const std::string& path() const = 0;
  virtual const std::vector<StoredTensor>& tensors() const = 0;  // in the order of their data
  virtual const std::map<std::string, std::string>& metadata() const = 0;
  // Throws CheckpointInvalid naming file and tensor where there is none.
  virtual const StoredTensor& find(std::string_view name) const = 0;
  // Gives the tensor's pages of the map back to the system, which reads them again where they are needed again.
  virtual void release_pages(const StoredTensor& tensor) const = 0;
};

// Bytes of one element; 0 for an unknown type and for the types smaller than a byte (F4, F6_*).
size_t element_size(std::string_view type);

// Converts `count` elements starting at element `first` to fp32: F64, F32, F16, BF16, I64, I32, I16, I8, U8, BOOL (0 or
// 1). Throws CheckpointInvalid for another type, std::out_of_range beyond the tensor. Runs on libtorch's threads where
// there is much to do.
void convert_to_float(const StoredTensor& tensor, int64_t first, int64_t count, float* out);

// Takes one tensor's data, piece after piece, as it goes to the file.
class TensorSink {
 public:
  virtual ~TensorSink() = default;
  // Values of an F32, F16 or BF16 tensor; rounded to nearest even for the 16-bit types.
  virtual void values(const float* values, size_t count) = 0;
  // Elements as they are stored, whatever the type.
  virtual void bytes(const std::byte* data, size_t length) = 0;
};

struct TensorToWrite {
  std::string name;
  std::string type;  // "F32", "F16", "BF16"; with `stream`, any stored type
  std::vector<int64_t> shape;
  const float* values = nullptr;
  // In place of `values`, gives the data when it is its turn: what does not fit in memory together can be written.
  // std::logic_error where it gives more or less than the shape says.
  std::function<void(TensorSink&)> stream = {};
};

// Writes to a temporary file beside `path`, flushes it to the disk, renames and flushes the folder: whoever has the old
// file open or mapped keeps the old content. Data in the order given, larger element types before smaller ones so that
// every tensor is aligned; offsets contiguous, header padded with spaces to a multiple of 8. Same input, same bytes.
// Throws std::invalid_argument for what the format cannot hold and std::system_error where writing fails; no temporary
// file is left behind.
void write_safetensors(const std::string& path, const std::vector<TensorToWrite>& tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace rkif
