#include "addon/safetensors_file.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "addon/vector.h"

namespace rkif::addon {

namespace {

// The most that 64 bits hold where the product is beyond them.
int64_t elements(const std::vector<int64_t>& shape) {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  int64_t count = 1;
  for (int64_t n : shape)
    if (__builtin_mul_overflow(count, n, &count)) return std::numeric_limits<int64_t>::max();
  return count;
}

Napi::Array to_array(Napi::Env env, const std::vector<int64_t>& values) {
  Napi::Array array = Napi::Array::New(env, values.size());
  for (uint32_t i = 0; i < values.size(); ++i) array.Set(i, static_cast<double>(values[i]));
  return array;
}

// The tensor an argument names; CHECKPOINT_MISMATCH at the call where there is none.
const StoredTensor& named(SafetensorsFile& file, const Argument& name) {
  try {
    return file.find(name.string());
  } catch (const CheckpointInvalid& error) {
    // The file is sound; it is not the one the caller takes it for.
    throw make_error(name.env(), {"CHECKPOINT_MISMATCH", error.what()});
  }
}

}  // namespace

const napi_type_tag FileHandle::kTag = {0x7a1d0f6e52b84c10, 0x9c3be24d81f05a04};

void FileHandle::define(Napi::Env env) {
  Napi::Function cls = DefineClass(
      env, kName,
      {InstanceAccessor<&FileHandle::path>("path"), InstanceAccessor<&FileHandle::tensors>("tensors"),
       InstanceAccessor<&FileHandle::metadata>("metadata"),
       InstanceAccessor("disposed", &FileHandle::get_disposed, nullptr),
       InstanceMethod<&FileHandle::read_float32>("readFloat32"), InstanceMethod<&FileHandle::read_bytes>("readBytes"),
       InstanceMethod<&FileHandle::read_into>("readInto"), InstanceMethod<&FileHandle::dispose>("dispose")});
  Environment::of(env).file_class = Napi::Persistent(cls);
}

Napi::Value FileHandle::path(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), state(info.Env())->path());
}

Napi::Value FileHandle::tensors(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto self = state(env);
  Napi::Array array = Napi::Array::New(env, self->tensors().size());
  uint32_t i = 0;
  for (const StoredTensor& tensor : self->tensors()) {
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("name", tensor.name);
    entry.Set("type", tensor.type);
    entry.Set("shape", to_array(env, tensor.shape));
    entry.Set("byteLength", static_cast<double>(tensor.byte_length));
    array.Set(i++, entry);
  }
  return array;
}

Napi::Value FileHandle::metadata(const Napi::CallbackInfo& info) {
  Napi::Object object = Napi::Object::New(info.Env());
  for (const auto& [key, value] : state(info.Env())->metadata()) object.Set(key, value);
  return object;
}

Napi::Value FileHandle::read_float32(const Napi::CallbackInfo& info) {
  auto self = state(info.Env());
  const StoredTensor& tensor = named(*self, argument(info, 0, "readFloat32: name"));
  int64_t count = elements(tensor.shape);
  Target<Napi::Float32Array> target(info.Env(), count);
  return Environment::of(info.Env())
      .promise(
          info.Env(),
          [self, &tensor, count, data = target.data] {
            convert_to_float(tensor, 0, count, data);
            return Done{};
          },
          target.convert());
}

Napi::Value FileHandle::read_bytes(const Napi::CallbackInfo& info) {
  auto self = state(info.Env());
  const StoredTensor& tensor = named(*self, argument(info, 0, "readBytes: name"));
  Target<Napi::Uint8Array> target(info.Env(), tensor.byte_length);
  return Environment::of(info.Env())
      .promise(
          info.Env(),
          [self, &tensor, data = target.data] {
            if (tensor.byte_length > 0) std::memcpy(data, tensor.data, tensor.byte_length);
            return Done{};
          },
          target.convert());
}

void FileHandle::read_into(const Napi::CallbackInfo& info) {
  auto self = state(info.Env());
  const StoredTensor& tensor = named(*self, argument(info, 0, "readInto: name"));
  auto vector = VectorHandle::from(argument(info, 1, "readInto: vector"));
  int64_t offset = argument(info, 2, "readInto: offset").integer(0);
  int64_t count = elements(tensor.shape);
  if (offset > vector->length || count > vector->length - offset)
    throw invalid_argument(info.Env(), "readInto: tensor \"" + tensor.name + "\" has " + std::to_string(count) +
                                           " elements, which do not fit at offset " + std::to_string(offset) +
                                           " of a vector of " + std::to_string(vector->length));
  Environment::of(info.Env()).enqueue([self, &tensor, vector, offset, count] {
    if (vector->device.is_cpu()) {
      convert_to_float(tensor, 0, count, vector->data() + offset);
    } else {
      at::Tensor values = at::empty({count}, at::kFloat);
      convert_to_float(tensor, 0, count, values.mutable_data_ptr<float>());
      vector->tensor.narrow(0, offset, count).copy_(values);
    }
  });
}

Napi::Value open_safetensors(const Napi::CallbackInfo& info) {
  std::string path = argument(info, 0, "openSafetensors: path").string();
  return Environment::of(info.Env())
      .promise(
          info.Env(), [path] { return SafetensorsFile::open(path); },
          [](Napi::Env env, const std::shared_ptr<SafetensorsFile>& file) -> Napi::Value {
            return FileHandle::create(env, file);
          });
}

namespace {

// A tensor whose values are in memory, and what keeps them there.
struct Source {
  TensorToWrite tensor;
  std::shared_ptr<VectorState> vector;
  int64_t offset = 0;
  std::vector<float> values;
};

Source values_source(const Argument& entry) {
  Source source;
  source.tensor = {entry["name"].string(), entry["type"].string(), entry["shape"].integers(0)};
  if (source.tensor.type != "F32" && source.tensor.type != "F16" && source.tensor.type != "BF16")
    entry["type"].refuse("\"F32\", \"F16\" or \"BF16\"");
  if (!entry["offset"].missing()) source.offset = entry["offset"].integer(0);
  int64_t count = elements(source.tensor.shape), available;
  if (entry["from"].value.IsTypedArray()) {
    Napi::Float32Array values = entry["from"].float32s();
    available = static_cast<int64_t>(values.ElementLength());
    if (count <= available - source.offset)
      source.values.assign(values.Data() + source.offset, values.Data() + source.offset + count);
  } else {
    source.vector = VectorHandle::from(entry["from"]);
    available = source.vector->length;
  }
  if (count > available - source.offset)
    throw invalid_argument(entry.env(), entry.name + " (\"" + source.tensor.name + "\") needs " +
                                            std::to_string(count) + " values from " + std::to_string(source.offset) +
                                            ", its source has " + std::to_string(available));
  return source;
}

// scale * B A of two tensors of an open file.
struct LowRank {
  std::shared_ptr<SafetensorsFile> file;
  const StoredTensor* a;
  const StoredTensor* b;
  double scale;
};

LowRank low_rank(const Argument& add, const StoredTensor& to) {
  LowRank product;
  product.file = FileHandle::from(add["from"]);
  product.a = &named(*product.file, add["a"]);
  product.b = &named(*product.file, add["b"]);
  product.scale = add["scale"].number();
  if (to.type != "F32" && to.type != "F16" && to.type != "BF16")
    throw invalid_argument(add.env(), add.name + ": tensor \"" + to.name + "\" has type " + to.type +
                                          ", expected F32, F16 or BF16 to add to");
  const std::vector<int64_t>&a = product.a->shape, &b = product.b->shape, &w = to.shape;
  if (a.size() != 2 || b.size() != 2 || w.size() != 2 || b[1] != a[0] || b[0] != w[0] || a[1] != w[1])
    throw invalid_argument(add.env(), add.name + ": \"" + product.b->name + "\" times \"" + product.a->name +
                                          "\" has not the shape of tensor \"" + to.name + "\"");
  return product;
}

at::Tensor matrix(const StoredTensor& stored) {
  at::Tensor values = at::empty(stored.shape, at::kFloat);
  convert_to_float(stored, 0, values.numel(), values.data_ptr<float>());
  if (!at::isfinite(values).all().item<bool>())
    throw CheckpointInvalid("tensor \"" + stored.name + "\" holds values that are not finite; nothing is made of them");
  return values;
}

// In fp32 and rounded once, some rows at a time: memory does not grow with the tensor.
void stream_sum(const StoredTensor& tensor, const LowRank& product, TensorSink& sink) {
  constexpr int64_t kBlock = 1 << 23;
  const at::Tensor a = matrix(*product.a), b = matrix(*product.b);
  const int64_t rows = tensor.shape[0], columns = tensor.shape[1];
  const int64_t rows_at_once = std::max<int64_t>(1, kBlock / std::max<int64_t>(1, columns));
  std::vector<float> block(std::min(rows, rows_at_once) * columns);
  for (int64_t row = 0; row < rows; row += rows_at_once) {
    const int64_t now = std::min(rows_at_once, rows - row);
    convert_to_float(tensor, row * columns, now * columns, block.data());
    at::from_blob(block.data(), {now, columns}).addmm_(b.narrow(0, row, now), a, 1, product.scale);
    sink.values(block.data(), now * columns);
  }
}

// A tensor of an open file, as stored or with a product added.
TensorToWrite copied(const Argument& entry) {
  auto file = FileHandle::from(entry["from"]);
  const StoredTensor& stored = named(*file, entry["tensor"].missing() ? entry["name"] : entry["tensor"]);
  TensorToWrite tensor{entry["name"].string(), stored.type, stored.shape};
  if (entry["add"].missing()) {
    tensor.stream = [file, &stored](TensorSink& sink) {
      sink.bytes(stored.data, stored.byte_length);
      file->release_pages(stored);
    };
  } else {
    tensor.stream = [file, &stored, product = low_rank(entry["add"], stored)](TensorSink& sink) {
      stream_sum(stored, product, sink);
      file->release_pages(stored);
    };
  }
  return tensor;
}

bool is_file(const Argument& argument) {
  return argument.value.IsObject() && argument.value.As<Napi::Object>().CheckTypeTag(&FileHandle::kTag);
}

}  // namespace

Napi::Value write_safetensors(const Napi::CallbackInfo& info) {
  std::string path = argument(info, 0, "writeSafetensors: path").string();
  Argument list = argument(info, 1, "writeSafetensors: tensors");
  if (!list.value.IsArray()) list.refuse("an array of tensors");
  auto sources = std::make_shared<std::vector<Source>>();
  Napi::Array array = list.value.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); ++i) {
    Argument entry{list.name + "[" + std::to_string(i) + "]", array.Get(i)};
    sources->push_back(is_file(entry["from"]) ? Source{copied(entry), nullptr, 0, {}} : values_source(entry));
  }
  std::map<std::string, std::string> metadata;
  Argument pairs = argument(info, 2, "writeSafetensors: metadata");
  if (!pairs.missing()) {
    Napi::Array keys = pairs.object().GetPropertyNames();
    for (uint32_t i = 0; i < keys.Length(); ++i) {
      std::string key = keys.Get(i).ToString();
      metadata[key] = pairs[key.c_str()].string();
    }
  }
  return Environment::of(info.Env())
      .promise(
          info.Env(),
          [path, sources, metadata] {
            std::vector<TensorToWrite> tensors;
            for (Source& source : *sources) {
              if (source.vector && !source.vector->device.is_cpu()) {
                const at::Tensor here =
                    on_host(source.vector->tensor.narrow(0, source.offset, elements(source.tensor.shape)));
                const float* values = here.const_data_ptr<float>();
                source.values.assign(values, values + here.numel());
                source.tensor.values = source.values.data();
              } else if (!source.tensor.stream) {
                source.tensor.values = source.vector ? source.vector->data() + source.offset : source.values.data();
              }
              tensors.push_back(source.tensor);
            }
            rkif::write_safetensors(path, tensors, metadata);
            return Done{};
          },
          to_undefined);
}

}  // namespace rkif::addon
