#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <unordered_set>

#include "checkpoints/float_bits.h"
#include "checkpoints/safetensors.h"
#include "checkpoints/stored_types.h"
#include "checkpoints/utf8.h"

namespace rkif {

static_assert(std::endian::native == std::endian::little,
              "safetensors holds little-endian values, written here as they are");

namespace {

[[noreturn]] void fail(const std::string& path, const std::string& what) {
  throw std::system_error(errno, std::generic_category(), path + ": " + what);
}

[[noreturn]] void refuse(const std::string& path, const std::string& what) {
  throw std::invalid_argument(path + ": " + what);
}

std::string json_string(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned char>(c));
      out += escaped;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

size_t element_count(const std::string& path, const TensorToWrite& tensor) {
  size_t count = 1;
  for (const int64_t dimension : tensor.shape) {
    if (dimension < 0 || __builtin_mul_overflow(count, static_cast<size_t>(dimension), &count)) {
      refuse(path, "tensor " + quoted(tensor.name) + " has an impossible shape");
    }
  }
  if (count > SIZE_MAX / sizeof(float)) refuse(path, "tensor " + quoted(tensor.name) + " has an impossible shape");
  return count;
}

void check(const std::string& path, const std::vector<TensorToWrite>& tensors,
           const std::map<std::string, std::string>& metadata) {
  const auto check_text = [&path](const std::string& text) {
    if (find_invalid_utf8(text) != std::string::npos) refuse(path, "name or metadata is not UTF-8");
  };
  std::unordered_set<std::string_view> names;
  for (const TensorToWrite& tensor : tensors) {
    check_text(tensor.name);
    if (tensor.name == "__metadata__") refuse(path, "a tensor cannot be named \"__metadata__\"");
    if (!names.insert(tensor.name).second) refuse(path, "tensor " + quoted(tensor.name) + " is given twice");
    if (tensor.type != "F32" && tensor.type != "F16" && tensor.type != "BF16") {
      refuse(path,
             "tensor " + quoted(tensor.name) + " has type " + quoted(tensor.type) + ", expected F32, F16 or BF16");
    }
    if (element_count(path, tensor) > 0 && tensor.values == nullptr) {
      refuse(path, "tensor " + quoted(tensor.name) + " has no values");
    }
  }
  for (const auto& [key, value] : metadata) {
    check_text(key);
    check_text(value);
  }
}

// The header with its length in front. `order`: the tensors as their data follows.
std::string build_header(const std::string& path, const std::vector<const TensorToWrite*>& order,
                         const std::map<std::string, std::string>& metadata) {
  std::string text = "{";
  if (!metadata.empty()) {
    text += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) {
      if (text.back() != '{') text += ",";
      text += json_string(key) + ":" + json_string(value);
    }
    text += "}";
  }
  size_t offset = 0;
  for (const TensorToWrite* tensor : order) {
    if (text.size() > 1) text += ",";
    text += json_string(tensor->name) + ":{\"dtype\":\"" + tensor->type + "\",\"shape\":[";
    for (size_t i = 0; i < tensor->shape.size(); ++i) {
      if (i > 0) text += ",";
      text += std::to_string(tensor->shape[i]);
    }
    const size_t begin = offset;
    if (__builtin_add_overflow(offset, element_count(path, *tensor) * element_size(tensor->type), &offset)) {
      refuse(path, "the tensors have more than 2^64 - 1 bytes");
    }
    text += "],\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(offset) + "]}";
  }
  text += "}";
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > kMaxHeaderLength) {
    refuse(path, "the header would have " + std::to_string(text.size()) + " bytes, expected at most " +
                     std::to_string(kMaxHeaderLength));
  }
  const uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + text;
}

// The file beside the target; removed again unless it was put in place.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& target) : target_(target) {
    static std::atomic<unsigned> counter{0};
    // A killed process may have left its file, and process ids return: then the next number is free.
    for (int attempt = 0; attempt < 100; ++attempt) {
      path_ = target + "." + std::to_string(::getpid()) + "-" + std::to_string(counter++) + ".tmp";
      fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (fd_ >= 0 || errno != EEXIST) break;
    }
    if (fd_ < 0) fail(path_, "cannot be created");
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (fd_ >= 0) ::close(fd_);
    if (!placed_) ::unlink(path_.c_str());
  }

  void write(const void* data, size_t length) {
    const auto* from = static_cast<const char*>(data);
    while (length > 0) {
      const ssize_t written = ::write(fd_, from, std::min(length, size_t{1} << 30));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail(path_, "cannot be written");
      from += written;
      length -= static_cast<size_t>(written);
    }
  }

  void put_in_place() {
    if (::fsync(fd_) != 0) fail(path_, "cannot be flushed to the disk");
    const int closed = ::close(fd_);
    fd_ = -1;
    if (closed != 0) fail(path_, "cannot be closed");
    if (::rename(path_.c_str(), target_.c_str()) != 0) fail(target_, "cannot be replaced");
    placed_ = true;
    flush_folder();
  }

 private:
  // Without it a power failure may bring the old name back.
  void flush_folder() const {
    const size_t slash = target_.rfind('/');
    const std::string folder = slash == std::string::npos ? "." : target_.substr(0, slash + 1);
    const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) fail(folder, "cannot be opened to flush it");
    const int result = ::fsync(fd);
    const int error = errno;
    ::close(fd);
    errno = error;
    // Some network file systems cannot flush folders and say so.
    if (result != 0 && error != EINVAL && error != ENOTSUP) fail(folder, "cannot be flushed to the disk");
  }

  std::string target_;
  std::string path_;
  int fd_ = -1;
  bool placed_ = false;
};

void write_values(TemporaryFile& file, const float* values, size_t count, std::string_view type) {
  if (type == "F32") return file.write(values, count * sizeof(float));
  std::vector<uint16_t> part(std::min<size_t>(count, 1 << 18));
  for (size_t done = 0; done < count;) {
    const size_t now = std::min(part.size(), count - done);
    if (type == "BF16") {
      std::transform(values + done, values + done + now, part.begin(), float_to_bfloat16);
    } else {
      std::transform(values + done, values + done + now, part.begin(), float_to_half);
    }
    file.write(part.data(), now * sizeof(uint16_t));
    done += now;
  }
}

}  // namespace

void write_safetensors(const std::string& path, const std::vector<TensorToWrite>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  check(path, tensors, metadata);
  // Renaming would replace a device or a FIFO by a file, which nobody who names one can want.
  struct stat info;
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) refuse(path, "exists and is not a regular file");
  std::vector<const TensorToWrite*> order;
  for (const TensorToWrite& tensor : tensors) order.push_back(&tensor);
  std::stable_sort(order.begin(), order.end(), [](const TensorToWrite* a, const TensorToWrite* b) {
    return element_size(a->type) > element_size(b->type);
  });
  const std::string header = build_header(path, order, metadata);
  TemporaryFile file(path);
  file.write(header.data(), header.size());
  for (const TensorToWrite* tensor : order) {
    write_values(file, tensor->values, element_count(path, *tensor), tensor->type);
  }
  file.put_in_place();
}

}  // namespace rkif
