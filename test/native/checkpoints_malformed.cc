// What the reader refuses and what it accepts, row by row of docs/safetensors.md; the cases come from the safetensors
// project's own tests, and its release 0.8 was asked about each of them.
#include <sys/resource.h>
#include <sys/stat.h>

#include <fstream>
#include <initializer_list>
#include <new>

#include "check.h"
#include "checkpoints/safetensors.h"
#include "checkpoints_files.h"

namespace {

using namespace rkif;
using namespace rkif::test;

const std::string kEntry = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})";

std::shared_ptr<SafetensorsFile> open_bytes(const std::string& bytes, bool copy = false) {
  const Folder folder;  // goes while the file is open, which must not matter
  const std::string path = folder / "file.safetensors";
  write_file(path, bytes);
  return SafetensorsFile::open(path, copy);
}

// Refused in both ways of opening, with the file's name and `part` in the message.
void refused(const std::string& bytes, const std::string& part) {
  for (const bool copy : {false, true}) {
    CHECK_THROWS(open_bytes(bytes, copy), CheckpointInvalid, part);
    CHECK_THROWS(open_bytes(bytes, copy), CheckpointInvalid, "file.safetensors: ");
  }
}

size_t accepted(const std::string& bytes) {
  const size_t count = open_bytes(bytes)->tensors().size();
  CHECK_EQUAL(open_bytes(bytes, true)->tensors().size(), count);
  return count;
}

std::string tensor(const std::string& name, const std::string& type, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + type + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

std::string object(std::initializer_list<std::string> members) {
  std::string text = "{";
  for (const std::string& member : members) {
    if (text.size() > 1) text += ',';
    text += member;
  }
  return text += '}';
}

// One tensor "a" with `size` bytes of data behind it.
std::string one(const std::string& type, const std::string& shape, const std::string& offsets, size_t size) {
  return file_of(object({tensor("a", type, shape, offsets)}), std::string(size, '\0'));
}

}  // namespace

TEST("checkpoints: malformed: empty, shorter than 8 bytes, length only") {
  refused("", "has 0 bytes");
  refused(std::string(7, '\0'), "has 7 bytes");
  refused(with_length(0, ""), "found the end, expected an object");
  refused(with_length(10, ""), "only 0 follow");
}

TEST("checkpoints: malformed: absurd header lengths are refused without allocating") {
  const std::string header_beyond = with_length(3, "{}"), all_ones = with_length(UINT64_MAX, "{}");
  const std::string above = with_length(100'000'001, "{}"), at_limit = with_length(100'000'000, "{}");
  const auto check = [&] {
    refused(all_ones, "header of 18446744073709551615 bytes, expected at most 100000000");
    refused(above, "header of 100000001 bytes, expected at most 100000000");
    refused(at_limit, "header of 100000000 bytes, but only 2 follow");
    refused(header_beyond, "header of 3 bytes, but only 2 follow");
  };
  check();
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)  // whose allocator ends the process instead
  // Again where no more than 32 MB can be had beyond what is in use: allocating 100 MB would be std::bad_alloc.
  size_t in_use = 0;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmData:")) in_use = std::stoull(line.substr(7)) << 10;
  }
  CHECK(in_use > 0);
  rlimit old;
  CHECK_EQUAL(getrlimit(RLIMIT_DATA, &old), 0);
  rlimit low = old;
  low.rlim_cur = in_use + (size_t{32} << 20);
  CHECK_EQUAL(setrlimit(RLIMIT_DATA, &low), 0);
  struct Restore {
    rlimit old;
    ~Restore() { setrlimit(RLIMIT_DATA, &old); }
  } restore{old};
  CHECK_THROWS(std::vector<char>(size_t{100} << 20), std::bad_alloc, "");  // the limit works
  check();
#endif
}

TEST("checkpoints: malformed: header that is not UTF-8, not JSON, not an object") {
  refused(file_of("{\"\xff\":" + kEntry + "}", "0000"), "byte 0xff, expected UTF-8");
  refused(file_of("{\"a\":{\"x\":\"\xc0\xaf\"}}"), "expected UTF-8");
  refused(file_of("not json"), "found 'n', expected an object");
  refused(file_of("{"), "found the end, expected a member's name");
  refused(file_of("[]"), "found '[', expected an object");
  refused(file_of("null"), "expected an object");
  refused(file_of("\xef\xbb\xbf{}"), "byte 0xef, expected an object");
  refused(file_of("{\"a\":" + kEntry + "}" + std::string(6, '\0'), "0000"),
          "byte 0x00, expected nothing after the value");
  refused(file_of("{}{}"), "expected nothing after the value");
  refused(file_of("{\"a\":" + kEntry + ",}", "0000"), "expected a member's name");
}

TEST("checkpoints: malformed: nesting") {
  const auto nested = [](size_t levels) {
    return file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":)" + std::string(levels, '[') +
                       std::string(levels, ']') + "}}",
                   "0000");
  };
  CHECK_EQUAL(accepted(nested(100)), 1u);
  CHECK_EQUAL(accepted(nested(125)), 1u);  // with the two objects around it 127, where the release stops too
  refused(nested(126), "at most 127 levels of nesting");
  refused(nested(200), "at most 127 levels of nesting");
  refused(file_of(std::string(1'000'000, '[')), "expected an object");
}

TEST("checkpoints: accepted: white space around the header, an empty header object") {
  CHECK_EQUAL(accepted(file_of(" \n\t\r{\"a\":" + kEntry + "}", "0000")), 1u);
  CHECK_EQUAL(accepted(file_of("{\"a\":" + kEntry + "}  \n\t\r  ", "0000")), 1u);
  CHECK_EQUAL(accepted(file_of("{ \"a\" :\n" + kEntry + " }", "0000")), 1u);
  CHECK_EQUAL(accepted(file_of("{}")), 0u);
}

TEST("checkpoints: metadata: null accepted, strings read, anything else refused") {
  CHECK_EQUAL(accepted(file_of("{\"__metadata__\":null,\"a\":" + kEntry + "}", "0000")), 1u);
  const auto file = open_bytes(file_of(R"({"__metadata__":{"format":"pt","k\u00e9\ud83d\ude00":"\"v\n"}})"));
  CHECK_EQUAL(file->metadata().at("format"), "pt");
  CHECK_EQUAL(file->metadata().at("k\xc3\xa9\xf0\x9f\x98\x80"), "\"v\n");
  refused(file_of(R"({"__metadata__":{"step":1}})"),
          "\"__metadata__\": header at byte 24: found '1', expected a string");
  refused(file_of(R"({"__metadata__":"pt"})"), "\"__metadata__\"");
  refused(file_of(R"({"__metadata__":{"a":"1","a":"2"}})"), "key \"a\" appears twice");
  refused(file_of(R"({"__metadata__":null,"__metadata__":null})"), "\"__metadata__\" appears twice");
}

TEST("checkpoints: malformed: data that is too short or too long") {
  refused(one("F32", "[1]", "[0,4]", 2), "reach beyond the file, which holds 2 bytes of data");
  refused(one("F32", "[1]", "[0,4]", 5), "1 bytes are left after the last tensor");
  refused(file_of("{}", "0"), "1 bytes are left after the last tensor");
}

TEST("checkpoints: malformed: offsets that overlap, leave a hole, run backwards, are negative or share a span") {
  const auto two = [](const std::string& first, const std::string& second, size_t size) {
    return file_of(object({tensor("a", "U8", "[4]", first), tensor("b", "U8", "[4]", second)}),
                   std::string(size, '\0'));
  };
  CHECK_EQUAL(accepted(two("[0,4]", "[4,8]", 8)), 2u);
  refused(two("[0,4]", "[3,7]", 7), "tensor \"b\": \"data_offsets\" [3, 7) overlap those of tensor \"a\", [0, 4)");
  refused(two("[0,4]", "[5,9]", 9),
          "tensor \"b\": \"data_offsets\" [5, 9) leave a hole before them, expected a begin of 4");
  refused(two("[1,5]", "[5,9]", 9), "tensor \"a\": \"data_offsets\" [1, 5) leave a hole before them");
  refused(one("F32", "[1]", "[4,0]", 4), "run backwards");
  refused(one("F32", "[1]", "[-4,0]", 4), "found -4, expected an integer from 0");
  refused(one("F32", "[1]", "[0,18446744073709551615]", 4), "reach beyond the file");
  refused(one("F32", "[1]", "[0,18446744073709551620]", 4), "found 18446744073709551620, expected an integer");
  refused(one("F32", "[1]", "[0]", 4), "has 1 elements, expected [begin, end]");
  refused(one("F32", "[1]", "[0,4,8]", 4), "has more than two elements");
  refused(one("F32", "[1]", "4", 4), "expected an array");
  std::string ten = "{";
  for (int i = 0; i < 10; ++i) {
    if (i > 0) ten += ',';
    ten += tensor(std::string(1, static_cast<char>('a' + i)), "F32", "[1]", "[0,4]");
  }
  refused(file_of(ten + "}", "0000"), "overlap those of tensor \"a\"");
}

TEST("checkpoints: malformed: lengths and shapes") {
  refused(one("F32", "[2]", "[0,4]", 4),
          "tensor \"a\": \"data_offsets\" [0, 4) span 4 bytes, expected 8 for shape [2] of F32");
  refused(one("F32", "[1]", "[0,8]", 8), "expected 4 for shape [1]");
  refused(one("F32", "[4294967296,4294967296]", "[0,4]", 4), "more than 2^64 - 1 bits");
  refused(one("F64", "[9223372036854775807]", "[0,4]", 4), "more than 2^64 - 1 bits");
  refused(one("F32", "[9223372036854775808,0]", "[0,0]", 0), "dimension 9223372036854775808 is beyond 2^63 - 1");
  refused(one("F32", "[4611686018427387904,8,0]", "[0,0]", 0), "more than 2^64 - 1 bits");
  refused(one("F32", "[1.0]", "[0,4]", 4), "found 1.0, expected an integer");
  refused(one("F32", "[1.5]", "[0,6]", 6), "found 1.5, expected an integer");
  refused(one("F32", "[1e0]", "[0,4]", 4), "found 1e0, expected an integer");
  refused(one("F32", "[-1]", "[0,4]", 4), "found -1, expected an integer");
  refused(one("F32", "[\"1\"]", "[0,4]", 4), "expected an integer");
  refused(one("F32", "[01]", "[0,4]", 4), "no digit after a leading zero");
  refused(one("F32", "1", "[0,4]", 4), "expected an array");
  refused(one("F4", "[1]", "[0,1]", 1), "not a whole number of bytes");
}

TEST("checkpoints: accepted: no elements, scalars, types smaller than a byte") {
  const auto empty = open_bytes(one("F32", "[2,0]", "[0,0]", 0));
  CHECK_EQUAL(empty->find("a").byte_length, 0u);
  CHECK_EQUAL(empty->find("a").shape.size(), 2u);
  CHECK_EQUAL(open_bytes(one("F32", "[]", "[0,4]", 4))->find("a").shape.size(), 0u);
  CHECK_EQUAL(accepted(one("F4", "[2]", "[0,1]", 1)), 1u);
  // A tensor without elements may lie at the start, between others, or at the end.
  for (const char* at : {"[0,0]", "[4,4]", "[8,8]"}) {
    CHECK_EQUAL(accepted(file_of(object({tensor("a", "F32", "[1]", "[0,4]"), tensor("z", "F32", "[0]", at),
                                         tensor("b", "F32", "[1]", "[4,8]")}),
                                 "00000000")),
                3u);
  }
}

TEST("checkpoints: malformed: unknown types and broken entries") {
  refused(one("F31", "[1]", "[0,4]", 4), "tensor \"a\": dtype \"F31\" is unknown, expected one of F64, F32");
  refused(one("f32", "[1]", "[0,4]", 4), "dtype \"f32\" is unknown");
  refused(one("", "[1]", "[0,4]", 4), "dtype \"\" is unknown");
  refused(file_of(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", "0000"), "tensor \"a\": has no \"dtype\"");
  refused(file_of(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", "0000"), "has no \"shape\"");
  refused(file_of(R"({"a":{"dtype":"F32","shape":[1]}})", "0000"), "has no \"data_offsets\"");
  refused(file_of(R"({"a":null})"), "tensor \"a\": header at byte 5");
  refused(file_of(R"({"a":["F32",[1],[0,4]]})", "0000"), "found '[', expected an object");
}

TEST("checkpoints: malformed: a name or a field twice") {
  refused(file_of("{\"a\":" + kEntry + ",\"a\":" + kEntry + "}", "0000"), "tensor \"a\" appears twice");
  refused(file_of("{\"a\":" + kEntry + ",\"\\u0061\":" + kEntry + "}", "0000"), "tensor \"a\" appears twice");
  refused(file_of(R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "0000"),
          "field \"dtype\" appears twice");
}

TEST("checkpoints: accepted: extra fields, an empty name") {
  const std::string extra =
      R"({"a":{"x":{"y":[true,false,null,-1.5e3,"\u0041"]},"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  CHECK_EQUAL(accepted(file_of(extra, "0000")), 1u);
  CHECK_EQUAL(open_bytes(file_of("{\"\":" + kEntry + "}", "0000"))->find("").byte_length, 4u);
}

TEST("checkpoints: messages stay readable whatever a file calls its tensors") {
  refused(file_of(R"({"a\n\u001b[31m":null})"), R"(tensor "a\x0a\x1b[31m")");
  refused(file_of("{\"" + std::string(100'000, 'n') + "\":null}"), std::string(200, 'n') + "...\"");
  const auto file = open_bytes(file_of("{\"a\":" + kEntry + "}", "0000"));
  CHECK_THROWS(file->find("b"), CheckpointInvalid, "file.safetensors: has no tensor \"b\"; it holds 1 others");
}

TEST("checkpoints: only regular files, also behind a link") {
  const Folder folder;
  write_file(folder / "model.safetensors", file_of("{\"a\":" + kEntry + "}", "0000"));
  std::filesystem::create_symlink("model.safetensors", folder / "link");
  CHECK_EQUAL(SafetensorsFile::open(folder / "link")->tensors().size(), 1u);
  CHECK_THROWS(SafetensorsFile::open(folder.path()), CheckpointInvalid, "is a directory, expected a regular file");
  CHECK_THROWS(SafetensorsFile::open("/dev/zero"), CheckpointInvalid, "is a device, expected a regular file");
  CHECK_EQUAL(mkfifo((folder / "fifo").c_str(), 0600), 0);
  CHECK_THROWS(SafetensorsFile::open(folder / "fifo"), CheckpointInvalid,
               "is a FIFO, expected a regular file");  // and does not wait
  std::filesystem::create_symlink("fifo", folder / "link-to-fifo");
  CHECK_THROWS(SafetensorsFile::open(folder / "link-to-fifo"), CheckpointInvalid, "is a FIFO");
  std::filesystem::create_symlink("nowhere", folder / "dangling");
  CHECK_THROWS(SafetensorsFile::open(folder / "dangling"), CheckpointInvalid, "cannot be opened: No such file");
  CHECK_THROWS(SafetensorsFile::open(folder / "missing"), CheckpointInvalid, "missing: cannot be opened: No such file");
}
