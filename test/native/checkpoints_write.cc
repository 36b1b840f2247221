// The writer: the bytes it makes, what it refuses, and what it leaves alone.
#include <sys/stat.h>

#include <cstring>
#include <stdexcept>
#include <system_error>

#include "check.h"
#include "checkpoints/safetensors.h"
#include "checkpoints_files.h"

namespace {

using namespace rkif;
using namespace rkif::test;

float first_value(const SafetensorsFile& file, const std::string& name) {
  float value;
  convert_to_float(file.find(name), 0, 1, &value);
  return value;
}

}  // namespace

TEST("checkpoints: writer: bytes worked by hand") {
  const Folder folder;
  const float a[] = {1.0f, -2.0f}, b[] = {0.5f}, c[] = {3.0f};
  write_safetensors(
      folder / "out.safetensors",
      {{"b", "BF16", {1}, b}, {"a\n\"", "F32", {2, 1}, a}, {"e", "F32", {0, 3}, nullptr}, {"c", "F16", {}, c}},
      {{"format", "pt"}});
  std::string header =
      R"({"__metadata__":{"format":"pt"},"a\u000a\"":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
      R"("e":{"dtype":"F32","shape":[0,3],"data_offsets":[8,8]},)"
      R"("b":{"dtype":"BF16","shape":[1],"data_offsets":[8,10]},"c":{"dtype":"F16","shape":[],"data_offsets":[10,12]}})";
  while (header.size() % 8 != 0) header += ' ';
  const std::string data("\x00\x00\x80\x3f\x00\x00\x00\xc0\x00\x3f\x00\x42", 12);
  CHECK_EQUAL(read_file(folder / "out.safetensors"), file_of(header, data));
  CHECK_EQUAL(folder.count(), 1u);  // no temporary file is left
}

TEST("checkpoints: writer: what is written is read back, and the same input gives the same bytes") {
  const Folder folder;
  std::vector<float> values(600'000);  // more than one buffer of the 16-bit path
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 2048) / 8;  // exact in fp16
  std::vector<float> coarse(values.size());
  for (size_t i = 0; i < coarse.size(); ++i) coarse[i] = static_cast<float>(i % 256);  // exact in bf16
  const std::vector<TensorToWrite> tensors = {{"half", "F16", {600, 1000}, values.data()},
                                              {"brain", "BF16", {600'000}, coarse.data()},
                                              {"full", "F32", {2, 300'000}, values.data()}};
  write_safetensors(folder / "1", tensors, {{"format", "pt"}, {"a", "b"}});
  write_safetensors(folder / "2", tensors, {{"a", "b"}, {"format", "pt"}});
  CHECK(read_file(folder / "1") == read_file(folder / "2"));
  for (const bool copy : {false, true}) {
    const auto file = SafetensorsFile::open(folder / "1", copy);
    CHECK_EQUAL(file->tensors().size(), 3u);
    CHECK_EQUAL(file->tensors().front().name, "full");
    CHECK_EQUAL(file->metadata().at("a"), "b");
    for (const TensorToWrite& tensor : tensors) {
      std::vector<float> back(values.size());
      convert_to_float(file->find(tensor.name), 0, 600'000, back.data());
      CHECK(std::memcmp(back.data(), tensor.values, back.size() * 4) == 0);
      CHECK(file->find(tensor.name).shape == tensor.shape);
      CHECK_EQUAL(reinterpret_cast<uintptr_t>(file->find(tensor.name).data) % 4, 0u);
    }
  }
}

TEST("checkpoints: writer: streamed tensors of any stored type, the larger elements first") {
  const Folder folder;
  const std::string path = folder / "out";
  const auto bytes_of = [](const std::string& data) {
    return [data](TensorSink& sink) {
      // In two pieces, the first odd.
      sink.bytes(reinterpret_cast<const std::byte*>(data.data()), 1);
      sink.bytes(reinterpret_cast<const std::byte*>(data.data()) + 1, data.size() - 1);
    };
  };
  std::vector<float> many(9'000'000);  // more than the 16-bit path rounds at once
  for (size_t i = 0; i < many.size(); ++i) many[i] = static_cast<float>(i % 256);
  write_safetensors(path,
                    {{"u8", "U8", {3}, nullptr, bytes_of("abc")},
                     {"f4", "F4", {2, 2}, nullptr, bytes_of("xy")},
                     {"bf16",
                      "BF16",
                      {9, 1'000'000},
                      nullptr,
                      [&](TensorSink& sink) {
                        sink.values(many.data(), 5);
                        sink.values(many.data() + 5, many.size() - 5);
                      }},
                     {"i64", "I64", {1}, nullptr, bytes_of("12345678")}},
                    {});
  const auto file = SafetensorsFile::open(path);
  std::string order;
  for (const StoredTensor& tensor : file->tensors()) order += tensor.name + " ";
  CHECK_EQUAL(order, "i64 bf16 u8 f4 ");
  const auto stored = [&](const std::string& name) {
    const StoredTensor& tensor = file->find(name);
    return std::string(reinterpret_cast<const char*>(tensor.data), tensor.byte_length);
  };
  CHECK_EQUAL(stored("i64"), "12345678");
  CHECK_EQUAL(stored("u8"), "abc");
  CHECK_EQUAL(stored("f4"), "xy");
  std::vector<float> back(many.size());
  const StoredTensor& rounded = file->find("bf16");
  convert_to_float(rounded, 0, 9'000'000, back.data());
  CHECK(back == many);
  // Pages that were given back are read again.
  file->release_pages(rounded);
  convert_to_float(rounded, 0, 9'000'000, back.data());
  CHECK(back == many);
}

TEST("checkpoints: released pages of a copied file keep their values") {
  const Folder folder;
  const std::vector<float> values(50'000, 7.0f);
  write_safetensors(folder / "w", {{"w", "F32", {50'000}, values.data()}}, {});
  const auto file = SafetensorsFile::open(folder / "w", true);
  file->release_pages(file->find("w"));
  std::vector<float> back(values.size());
  convert_to_float(file->find("w"), 0, 50'000, back.data());
  CHECK(back == values);
}

TEST("checkpoints: writer: a stream that gives too little, too much or what its type cannot hold leaves no file") {
  const Folder folder;
  const float values[] = {1, 2, 3};
  const auto refused = [&](const std::string& type, size_t count, const std::string& part) {
    const auto give = [&](TensorSink& sink) { sink.values(values, count); };
    CHECK_THROWS((write_safetensors(folder / "out", {{"w", type, {2}, nullptr, give}}, {}), 0), std::logic_error, part);
    CHECK_EQUAL(folder.count(), 0u);
  };
  refused("F32", 1, "tensor \"w\" lacks 4 bytes");
  refused("BF16", 3, "tensor \"w\" gives more than its shape holds");
  refused("I32", 2, "values cannot be rounded to I32");
}

TEST("checkpoints: writer: readers of the old file keep the old content") {
  const Folder folder;
  const std::string path = folder / "model.safetensors";
  const float old_value = 1, new_value = 2;
  write_safetensors(path, {{"w", "F32", {1}, &old_value}}, {});
  const auto before = SafetensorsFile::open(path);
  write_safetensors(path, {{"w", "F32", {1}, &new_value}}, {});
  CHECK_EQUAL(first_value(*before, "w"), 1.0f);
  CHECK_EQUAL(first_value(*SafetensorsFile::open(path), "w"), 2.0f);
  CHECK_EQUAL(folder.count(), 1u);
}

TEST("checkpoints: copied files do not change when the file is truncated or overwritten") {
  const Folder folder;
  const std::string path = folder / "model.safetensors";
  const std::vector<float> values(5000, 7.0f);
  write_safetensors(path, {{"w", "F32", {5000}, values.data()}}, {});
  const auto file = SafetensorsFile::open(path, true);
  std::filesystem::resize_file(path, 0);
  float last;
  convert_to_float(file->find("w"), 4999, 1, &last);
  CHECK_EQUAL(last, 7.0f);
}

TEST("checkpoints: writer: an open file outlives its name") {
  const Folder folder;
  const float value = 3;
  write_safetensors(folder / "w", {{"w", "F32", {1}, &value}}, {});
  const auto file = SafetensorsFile::open(folder / "w");
  std::filesystem::remove(folder / "w");
  CHECK_EQUAL(first_value(*file, "w"), 3.0f);
}

TEST("checkpoints: writer: refuses what the format cannot hold, before anything is written") {
  const Folder folder;
  const std::string path = folder / "out";
  const float value = 1;
  const auto refused = [&](const std::vector<TensorToWrite>& tensors, const std::string& part,
                           const std::map<std::string, std::string>& metadata = {}) {
    CHECK_THROWS((write_safetensors(path, tensors, metadata), 0), std::invalid_argument, part);
    CHECK_EQUAL(folder.count(), 0u);
  };
  refused({{"a", "F32", {1}, &value}, {"a", "F32", {1}, &value}}, "tensor \"a\" is given twice");
  refused({{"a", "F64", {1}, &value}}, "has type \"F64\", expected F32, F16 or BF16");
  const auto nothing = [](TensorSink&) {};
  refused({{"a", "F128", {1}, nullptr, nothing}}, "has type \"F128\", expected F64, F32");
  refused({{"a", "F4", {3}, nullptr, nothing}}, "tensor \"a\" does not end at a whole byte");
  refused({{"a", "F32", {-1}, &value}}, "has an impossible shape");
  refused({{"a", "F32", {INT64_MAX, 4}, &value}}, "has an impossible shape");
  refused({{"a", "F32", {1}, nullptr}}, "tensor \"a\" has no values");
  refused({{"__metadata__", "F32", {1}, &value}}, "cannot be named");
  refused({{"\xff", "F32", {1}, &value}}, "not UTF-8");
  refused({}, "not UTF-8", {{"k", "\xff"}});
  refused({{std::string(100'000'000, 'n'), "F32", {1}, &value}}, "the header would have");
}

TEST("checkpoints: writer: failures leave the target and the folder as they were") {
  const Folder folder;
  const float value = 1;
  const std::vector<TensorToWrite> tensors = {{"w", "F32", {1}, &value}};
  CHECK_THROWS((write_safetensors(folder / "no/such/folder", tensors, {}), 0), std::system_error, "cannot be created");
  CHECK_THROWS((write_safetensors(folder.path(), tensors, {}), 0), std::invalid_argument, "is not a regular file");
  CHECK_EQUAL(mkfifo((folder / "fifo").c_str(), 0600), 0);
  CHECK_THROWS((write_safetensors(folder / "fifo", tensors, {}), 0), std::invalid_argument, "is not a regular file");
  CHECK_EQUAL(folder.count(), 1u);
}
