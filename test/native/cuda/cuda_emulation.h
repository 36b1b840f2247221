// CUDA's grid on the CPU, for tests of the .cu files without a GPU: blocks run one after another, the threads of a
// block as fibres that switch at barriers and warp operations, in an order drawn from a seed, so that a missing barrier
// shows. A barrier that not all threads reach, or a warp operation that a named lane does not take part in, throws.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define __restrict__ __restrict

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// Those of the fibre that runs.
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {

// Runs a grid. Throws std::runtime_error with the kernel's name where its threads wait for each other for ever, or what
// a thread threw.
void run(const char* name, dim3 grid, dim3 block, int64_t shared_bytes, const std::function<void()>& thread);
// The order of the threads from now on is drawn from this; 0: as they are numbered.
void set_order(uint64_t seed);
void* dynamic_shared();
void fill_zero(void* memory, int64_t bytes);

// Arrives with eight bytes at a warp operation of these lanes; returns when all have arrived. value_of(lane) is then
// what the lane brought, until the next one.
void exchange(unsigned lanes, uint64_t value);
uint64_t value_of(int lane);
void synchronise_block();
int lane();

template <class T>
uint64_t packed(T value) {
  static_assert(sizeof(T) <= 8);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return bits;
}
template <class T>
T unpacked(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}
template <class T>
T shuffle(unsigned lanes, T value, int from) {
  exchange(lanes, packed(value));
  return unpacked<T>(value_of(from));
}

}  // namespace emulation

inline void __syncthreads() { emulation::synchronise_block(); }
[[noreturn]] inline void __trap() { throw std::runtime_error("a kernel gave up"); }
inline void __syncwarp(unsigned lanes = 0xffffffffu) { emulation::exchange(lanes, 0); }
inline void __threadfence() {}
inline void __threadfence_block() {}

template <class T>
T __shfl_sync(unsigned lanes, T value, int from, int width = 32) {
  return emulation::shuffle(lanes, value, emulation::lane() / width * width + from % width);
}
template <class T>
T __shfl_xor_sync(unsigned lanes, T value, int mask) {
  return emulation::shuffle(lanes, value, emulation::lane() ^ mask);
}
template <class T>
T __shfl_down_sync(unsigned lanes, T value, unsigned delta, int width = 32) {
  const int lane = emulation::lane(), to = lane + static_cast<int>(delta);
  return emulation::shuffle(lanes, value, to / width == lane / width ? to : lane);
}
template <class T>
T __shfl_up_sync(unsigned lanes, T value, unsigned delta, int width = 32) {
  const int lane = emulation::lane(), to = lane - static_cast<int>(delta);
  return emulation::shuffle(lanes, value, to >= lane / width * width ? to : lane);
}
inline unsigned __ballot_sync(unsigned lanes, int predicate) {
  emulation::exchange(lanes, predicate != 0);
  unsigned bits = 0;
  for (int i = 0; i < 32; ++i) {
    if (lanes >> i & 1u && emulation::value_of(i) != 0) bits |= 1u << i;
  }
  return bits;
}
inline int __any_sync(unsigned lanes, int predicate) { return __ballot_sync(lanes, predicate) != 0; }
inline int __all_sync(unsigned lanes, int predicate) { return __ballot_sync(lanes, predicate) == lanes; }

// One thread runs at a time: plain code is atomic.
template <class T, class U>
T atomicAdd(T* at, U value) {
  const T before = *at;
  *at = before + static_cast<T>(value);
  return before;
}
template <class T>
T atomicMax(T* at, T value) {
  const T before = *at;
  if (value > before) *at = value;
  return before;
}
template <class T>
T atomicMin(T* at, T value) {
  const T before = *at;
  if (value < before) *at = value;
  return before;
}
template <class T>
T atomicOr(T* at, T value) {
  const T before = *at;
  *at = before | value;
  return before;
}
template <class T>
T atomicExch(T* at, T value) {
  const T before = *at;
  *at = value;
  return before;
}
template <class T>
T atomicCAS(T* at, T expected, T value) {
  const T before = *at;
  if (before == expected) *at = value;
  return before;
}

template <class T>
T __ldg(const T* at) {
  return *at;
}
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __fdiv_rn(float a, float b) { return a / b; }
