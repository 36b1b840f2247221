#pragma once
#include <cstdint>
#include <new>

namespace rkif {

// Scratch memory of one thread, kept from call to call: as large as the longest span needed, a few MiB.
class Workspace {
 public:
  static Workspace& of_this_thread() {
    thread_local Workspace workspace;
    return workspace;
  }
  Workspace() = default;
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  ~Workspace() { release(); }

  // Makes room for `floats` in `pieces` calls of take(); what was taken before is void.
  void reset(int64_t floats, int64_t pieces) {
    int64_t needed = floats + pieces * kAlignment;
    used_ = 0;
    if (needed <= capacity_) return;
    release();
    data_ = static_cast<float*>(::operator new(needed * sizeof(float), std::align_val_t{64}));
    capacity_ = needed;
  }

  // Of anything as wide as a float.
  template <class Word = float>
  Word* take(int64_t words) {
    static_assert(sizeof(Word) == sizeof(float));
    Word* piece = reinterpret_cast<Word*>(data_ + used_);
    used_ += (words + kAlignment - 1) / kAlignment * kAlignment;
    return piece;
  }

 private:
  static constexpr int64_t kAlignment = 16;
  void release() {
    if (data_ != nullptr) ::operator delete(data_, std::align_val_t{64});
    data_ = nullptr;
    capacity_ = 0;
  }
  float* data_ = nullptr;
  int64_t capacity_ = 0;
  int64_t used_ = 0;
};

}  // namespace rkif
