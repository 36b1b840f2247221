#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <unordered_map>

#include "checkpoints/safetensors.h"
#include "checkpoints/safetensors_header.h"
#include "checkpoints/stored_types.h"

namespace rkif {

static_assert(std::endian::native == std::endian::little,
              "safetensors holds little-endian values, read here as they are");

namespace {

constexpr size_t kLengthBytes = 8;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

[[noreturn]] void fail(const std::string& what, int error) {
  throw CheckpointInvalid(what + ": " + std::strerror(error));
}

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  return "not a regular file";
}

// Reads instead of mapping: a file that shrinks meanwhile gives an error here, where a map would end the process.
void read_exactly(int fd, size_t offset, size_t length, void* out) {
  auto* to = static_cast<char*>(out);
  while (length > 0) {
    const size_t part = std::min(length, size_t{1} << 30);  // Linux reads at most 2 GiB - 4 KiB in one call
    const ssize_t got = ::pread(fd, to, part, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("cannot be read", errno);
    if (got == 0) throw CheckpointInvalid("ended at byte " + std::to_string(offset) + " while it was being read");
    to += got;
    offset += static_cast<size_t>(got);
    length -= static_cast<size_t>(got);
  }
}

// The bytes after the header, mapped or copied.
class Data {
 public:
  Data() = default;
  Data(const Data&) = delete;
  Data& operator=(const Data&) = delete;
  ~Data() {
    if (map_) ::munmap(map_, map_length_);
  }

  const std::byte* map(int fd, size_t offset, size_t file_length) {
    void* address = ::mmap(nullptr, file_length, PROT_READ, MAP_PRIVATE, fd, 0);
    if (address == MAP_FAILED) fail("cannot be mapped", errno);
    map_ = address;
    map_length_ = file_length;
    return static_cast<const std::byte*>(address) + offset;
  }

  // Only whole pages, and only of a map: memory of its own would be lost.
  void release(const std::byte* begin, size_t length) const {
    if (!map_) return;
    static const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
    const uintptr_t first = (reinterpret_cast<uintptr_t>(begin) + page - 1) / page * page;
    const uintptr_t end = (reinterpret_cast<uintptr_t>(begin) + length) / page * page;
    // Advice: where it is not taken, nothing is wrong.
    if (first < end) ::madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
  }

  const std::byte* copy(int fd, size_t offset, size_t file_length) {
    copied_.reset(new std::byte[file_length - offset]);  // not zeroed first, as make_unique would
    read_exactly(fd, offset, file_length - offset, copied_.get());
    return copied_.get();
  }

 private:
  void* map_ = nullptr;
  size_t map_length_ = 0;
  std::unique_ptr<std::byte[]> copied_;
};

class OpenFile final : public SafetensorsFile {
 public:
  OpenFile(const std::string& path, bool copy) : path_(path) {
    try {
      load(copy);
    } catch (const CheckpointInvalid& error) {
      throw CheckpointInvalid(path + ": " + error.what());
    }
  }

  const std::string& path() const override { return path_; }
  const std::vector<StoredTensor>& tensors() const override { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const override { return header_.metadata; }
  const StoredTensor& find(std::string_view name) const override {
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) {
      throw CheckpointInvalid(path_ + ": has no tensor " + quoted(name) + "; it holds " +
                              std::to_string(header_.tensors.size()) + " others");
    }
    return *found->second;
  }
  void release_pages(const StoredTensor& tensor) const override { data_.release(tensor.data, tensor.byte_length); }

 private:
  void load(bool copy) {
    // O_NONBLOCK: opening a FIFO must not wait for a writer. It has no effect on regular files.
    const Descriptor file(::open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (file.get() < 0) fail("cannot be opened", errno);
    struct stat info;
    if (::fstat(file.get(), &info) != 0) fail("cannot be examined", errno);
    if (!S_ISREG(info.st_mode)) {
      throw CheckpointInvalid(std::string("is ") + kind_of(info.st_mode) + ", expected a regular file");
    }
    const auto length = static_cast<size_t>(info.st_size);
    if (length < kLengthBytes) {
      throw CheckpointInvalid("has " + std::to_string(length) + " bytes, expected a safetensors file (at least " +
                              std::to_string(kLengthBytes) + " bytes: the header's length)");
    }
    uint64_t header_length;
    read_exactly(file.get(), 0, kLengthBytes, &header_length);
    if (header_length > kMaxHeaderLength) {
      throw CheckpointInvalid("states a header of " + std::to_string(header_length) + " bytes, expected at most " +
                              std::to_string(kMaxHeaderLength) + "; it may not be a safetensors file");
    }
    if (header_length > length - kLengthBytes) {
      throw CheckpointInvalid("states a header of " + std::to_string(header_length) + " bytes, but only " +
                              std::to_string(length - kLengthBytes) + " follow; it may have been truncated");
    }
    std::string text(header_length, '\0');
    read_exactly(file.get(), kLengthBytes, header_length, text.data());
    const size_t data_offset = kLengthBytes + header_length;
    // The header is checked before the data is touched: a broken file costs neither a map nor a copy.
    header_ = parse_safetensors_header(text, length - data_offset);
    const std::byte* data =
        copy ? data_.copy(file.get(), data_offset, length) : data_.map(file.get(), data_offset, length);
    by_name_.reserve(header_.tensors.size());
    for (StoredTensor& tensor : header_.tensors) {
      tensor.data = data;
      data += tensor.byte_length;
      by_name_.emplace(tensor.name, &tensor);
    }
  }

  std::string path_;
  Data data_;
  SafetensorsHeader header_;
  std::unordered_map<std::string_view, const StoredTensor*> by_name_;  // names and tensors of header_
};

}  // namespace

std::shared_ptr<SafetensorsFile> SafetensorsFile::open(const std::string& path, bool copy) {
  return std::make_shared<OpenFile>(path, copy);
}

}  // namespace rkif
