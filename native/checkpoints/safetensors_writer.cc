#include <ATen/Parallel.h>
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
  if (count > SIZE_MAX / 64) refuse(path, "tensor " + quoted(tensor.name) + " has an impossible shape");
  return count;
}

size_t byte_length(const std::string& path, const TensorToWrite& tensor) {
  const size_t bits = element_count(path, tensor) * element_bits(tensor.type);
  if (bits % 8 != 0) refuse(path, "tensor " + quoted(tensor.name) + " does not end at a whole byte");
  return bits / 8;
}

// The types that values are rounded to.
bool is_rounded_to(std::string_view type) { return type == "F32" || type == "F16" || type == "BF16"; }

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
    if (tensor.stream ? element_bits(tensor.type) == 0 : !is_rounded_to(tensor.type)) {
      refuse(path, "tensor " + quoted(tensor.name) + " has type " + quoted(tensor.type) + ", expected " +
                       (tensor.stream ? known_types() : "F32, F16 or BF16"));
    }
    if (byte_length(path, tensor) > 0 && !tensor.values && !tensor.stream) {
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
    if (__builtin_add_overflow(offset, byte_length(path, *tensor), &offset)) {
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

// Rounds what is given as fp32, and counts.
class FileSink final : public TensorSink {
 public:
  FileSink(TemporaryFile& file, const TensorToWrite& tensor, size_t length)
      : file_(file), tensor_(tensor), left_(length) {}

  void values(const float* values, size_t count) override {
    if (!is_rounded_to(tensor_.type)) throw std::logic_error("values cannot be rounded to " + tensor_.type);
    if (tensor_.type == "F32") return put(values, count * sizeof(float));
    if (tensor_.type == "BF16") return put_rounded(values, count, [](float value) { return float_to_bfloat16(value); });
    put_rounded(values, count, [](float value) { return float_to_half(value); });
  }

  void bytes(const std::byte* data, size_t length) override { put(data, length); }

  void finish() const {
    if (left_ != 0)
      throw std::logic_error("tensor " + quoted(tensor_.name) + " lacks " + std::to_string(left_) + " bytes");
  }

 private:
  static constexpr size_t kPart = 1 << 22;
  static constexpr int64_t kGrain = 1 << 16;

  template <typename Round>
  void put_rounded(const float* values, size_t count, Round round) {
    part_.resize(std::min(count, kPart));
    for (size_t done = 0; done < count;) {
      const size_t now = std::min(kPart, count - done);
      at::parallel_for(0, static_cast<int64_t>(now), kGrain, [&](int64_t begin, int64_t end) {
        std::transform(values + done + begin, values + done + end, part_.data() + begin, round);
      });
      put(part_.data(), now * sizeof(uint16_t));
      done += now;
    }
  }

  void put(const void* data, size_t length) {
    if (length > left_) throw std::logic_error("tensor " + quoted(tensor_.name) + " gives more than its shape holds");
    file_.write(data, length);
    left_ -= length;
  }

  TemporaryFile& file_;
  const TensorToWrite& tensor_;
  size_t left_;
  std::vector<uint16_t> part_;
};

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
    return element_bits(a->type) > element_bits(b->type);
  });
  const std::string header = build_header(path, order, metadata);
  TemporaryFile file(path);
  file.write(header.data(), header.size());
  for (const TensorToWrite* tensor : order) {
    FileSink sink(file, *tensor, byte_length(path, *tensor));
    if (tensor->stream) {
      tensor->stream(sink);
    } else {
      sink.values(tensor->values, element_count(path, *tensor));
    }
    sink.finish();
  }
  file.put_in_place();
}

}  // namespace rkif
