// Mutated files: whatever happens to a header, the reader accepts the file or throws CheckpointInvalid, and what it
// accepts can be read to the last byte. Run under -fsanitize=address,undefined this also shows that nothing is read
// beyond the file.
#include <random>

#include "check.h"
#include "checkpoints/safetensors.h"
#include "checkpoints_files.h"

namespace {

using namespace rkif;
using namespace rkif::test;

const std::string kHeader =
    R"({"__metadata__":{"format":"pt","note":"\u00e9\ud83d\ude00\n"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
    R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[8,14],"x":[{"y":-1.5e2},null,true]},"c.d":{"dtype":"U8","shape":[],)"
    R"("data_offsets":[14,15]},"e":{"dtype":"I64","shape":[0,4],"data_offsets":[15,15]},"f":{"dtype":"F16","shape":[1],)"
    R"("data_offsets":[15,17]}}  )";
const std::string kData = "0123456789abcdefg";

std::string mutate(std::string bytes, std::mt19937& random) {
  // Digits, brackets and quotes are likelier to reach the checks behind the parser than arbitrary bytes.
  static const std::string kTelling = "0123456789-.eE{}[]\",:\\u \ntfn\xff\x80\xc3";
  const int changes = random() % 4 == 0 ? 3 : 1;
  for (int i = 0; i < changes && !bytes.empty(); ++i) {
    const size_t at = random() % bytes.size();
    const char telling = kTelling[random() % kTelling.size()];
    switch (random() % 7) {
      case 0:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << (random() % 8)));
        break;
      case 1:
        bytes[at] = telling;
        break;
      case 2:
        bytes.insert(at, 1, telling);
        break;
      case 3:
        bytes.erase(at, 1 + random() % 8);
        break;
      case 4:
        bytes.resize(at);
        break;
      case 5:  // a piece of the file once more, somewhere else
        bytes.insert(at, bytes.substr(random() % bytes.size(), 1 + random() % 40));
        break;
      default:
        bytes.append(1 + random() % 16, telling);
    }
  }
  return bytes;
}

}  // namespace

TEST("checkpoints: fuzz: mutated files are accepted or refused, never worse") {
  const Folder folder;
  const std::string valid = file_of(kHeader, kData);
  write_file(folder / "valid", valid);
  CHECK_EQUAL(SafetensorsFile::open(folder / "valid")->tensors().size(), 5u);
  std::mt19937 random(20260101);
  size_t accepted = 0, refused = 0;
  for (int i = 0; i < 6000; ++i) {
    // A new name each time: overwriting makes some file systems wait for the disk.
    const std::string path = folder / std::to_string(i);
    // Mostly the header with its length put right, so that the mutation reaches the checks behind the length's.
    write_file(path, random() % 4 == 0 ? mutate(valid, random) : file_of(mutate(kHeader, random), kData));
    try {
      const auto file = SafetensorsFile::open(path, i % 2 == 0);
      ++accepted;
      for (const StoredTensor& tensor : file->tensors()) {
        unsigned sum = 0;
        for (size_t k = 0; k < tensor.byte_length; ++k) sum += std::to_integer<unsigned>(tensor.data[k]);
        CHECK(sum <= 255 * tensor.byte_length);
        CHECK(&file->find(tensor.name) == &tensor);
        const size_t size = element_size(tensor.type);
        if (size == 0) continue;
        std::vector<float> values(tensor.byte_length / size);
        try {
          convert_to_float(tensor, 0, static_cast<int64_t>(values.size()), values.data());
        } catch (const CheckpointInvalid&) {  // a type without numbers
        }
      }
    } catch (const CheckpointInvalid&) {
      ++refused;
    }
    std::filesystem::remove(path);
  }
  // Both outcomes are common, or the mutations would say little.
  CHECK(accepted > 150);
  CHECK(refused > 3000);
}

TEST("checkpoints: fuzz: every truncation of a valid file is refused") {
  const Folder folder;
  const std::string valid = file_of(kHeader, kData);
  for (size_t length = 0; length < valid.size(); ++length) {
    const std::string path = folder / ("file" + std::to_string(length));
    write_file(path, valid.substr(0, length));
    CHECK_THROWS(SafetensorsFile::open(path), CheckpointInvalid, path + ": ");
  }
}
