#include "cuda_emulation.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <exception>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {
namespace {

constexpr size_t kStack = 128 * 1024;
constexpr size_t kMostThreads = 1024;

enum class State { kReady, kAtBlockBarrier, kAtWarpOperation, kEnded };

struct Fibre {
  State state = State::kReady;
  bool begun = false;
  dim3 index;
  int lane = 0;
  unsigned lanes = 0;  // of the warp operation it waits in
  uint64_t brought = 0;
  // What every lane brought: a copy, as another lane may arrive at the next operation before this one reads.
  std::array<uint64_t, 32> received{};
  jmp_buf place;
};

struct Machine {
  char* stacks = nullptr;
  std::vector<unsigned char> shared;
  std::vector<Fibre> fibres;
  Fibre* running = nullptr;
  jmp_buf scheduler;
  ucontext_t main;
  const std::function<void()>* thread = nullptr;
  std::exception_ptr thrown;
  uint64_t order = 0;
  std::mt19937_64 draws;
};

Machine& machine() {
  static Machine one;
  return one;
}

void body() {
  Machine& m = machine();
  try {
    (*m.thread)();
  } catch (...) {
    m.thrown = std::current_exception();
  }
  m.running->state = State::kEnded;
  _longjmp(m.scheduler, 1);
}

// Gives the processor back until the scheduler chooses this fibre again.
void wait(State state) {
  Machine& m = machine();
  Fibre* self = m.running;
  self->state = state;
  if (_setjmp(self->place) == 0) _longjmp(m.scheduler, 1);
}

void resume(Fibre& fibre, size_t number) {
  Machine& m = machine();
  m.running = &fibre;
  threadIdx = fibre.index;
  fibre.state = State::kReady;
  if (_setjmp(m.scheduler) != 0) return;
  if (fibre.begun) _longjmp(fibre.place, 1);
  fibre.begun = true;
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = m.stacks + number * kStack;
  context.uc_stack.ss_size = kStack;
  context.uc_link = nullptr;
  makecontext(&context, body, 0);
  setcontext(&context);
}

// Lets those go on that wait for nothing any more; false where nobody does.
bool release() {
  Machine& m = machine();
  bool any = false;
  const auto at_barrier = [](const Fibre& f) { return f.state == State::kAtBlockBarrier || f.state == State::kEnded; };
  if (std::all_of(m.fibres.begin(), m.fibres.end(), at_barrier)) {
    for (Fibre& f : m.fibres) {
      // A thread that has ended never arrives: the barrier would be undefined on a GPU.
      if (f.state == State::kEnded) return false;
    }
    for (Fibre& f : m.fibres) f.state = State::kReady;
    return !m.fibres.empty();
  }
  const size_t threads = m.fibres.size();
  for (size_t first = 0; first < threads; first += 32) {
    for (size_t i = first; i < std::min(first + 32, threads); ++i) {
      if (m.fibres[i].state != State::kAtWarpOperation) continue;
      const unsigned lanes = m.fibres[i].lanes;
      bool all = true;
      for (size_t lane = 0; lane < 32 && all; ++lane) {
        if ((lanes >> lane & 1u) == 0) continue;
        all = first + lane < threads && m.fibres[first + lane].state == State::kAtWarpOperation &&
              m.fibres[first + lane].lanes == lanes;
      }
      if (!all) continue;
      std::array<uint64_t, 32> values{};
      for (size_t lane = 0; lane < 32; ++lane) {
        if (lanes >> lane & 1u) values[lane] = m.fibres[first + lane].brought;
      }
      for (size_t lane = 0; lane < 32; ++lane) {
        if ((lanes >> lane & 1u) == 0) continue;
        m.fibres[first + lane].received = values;
        m.fibres[first + lane].state = State::kReady;
      }
      any = true;
    }
  }
  return any;
}

void run_block(const char* name) {
  Machine& m = machine();
  const size_t threads = m.fibres.size();
  std::vector<size_t> order(threads);
  std::iota(order.begin(), order.end(), size_t{0});
  // After a barrier some warps fall behind, as they may on a GPU: all others go on until they have to wait for these.
  uint64_t behind = m.order != 0 ? m.draws() : 0;
  for (;;) {
    if (m.order != 0) std::shuffle(order.begin(), order.end(), m.draws);
    bool ran = false;
    for (size_t i : order) {
      if (m.fibres[i].state != State::kReady || (behind >> (i / 32) & 1u) != 0) continue;
      resume(m.fibres[i], i);
      if (m.thrown) std::rethrow_exception(std::exchange(m.thrown, nullptr));
      ran = true;
    }
    if (!ran && behind != 0) {
      behind = 0;
      ran = true;
    }
    const auto ended = [](const Fibre& f) { return f.state == State::kEnded; };
    if (std::all_of(m.fibres.begin(), m.fibres.end(), ended)) return;
    const auto at_barrier = [](const Fibre& f) { return f.state == State::kAtBlockBarrier; };
    if (m.order != 0 && std::all_of(m.fibres.begin(), m.fibres.end(), at_barrier)) behind = m.draws();
    if (!release() && !ran) {
      throw std::runtime_error(std::string("kernel ") + name + ": threads of block " + std::to_string(blockIdx.x) +
                               " wait for others that never come");
    }
  }
}

}  // namespace

void run(const char* name, dim3 grid, dim3 block, int64_t shared_bytes, const std::function<void()>& thread) {
  Machine& m = machine();
  const size_t threads = size_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > kMostThreads || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 ||
      grid.z > 65535 || shared_bytes > 227 * 1024) {
    throw std::runtime_error(std::string("kernel ") + name + ": no GPU takes this grid of " + std::to_string(threads) +
                             " threads a block and " + std::to_string(shared_bytes) + " bytes of shared memory");
  }
  if (m.stacks == nullptr) {
    void* memory = mmap(nullptr, kStack * kMostThreads, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    m.stacks = static_cast<char*>(memory);
  }
  m.thread = &thread;
  gridDim = grid;
  blockDim = block;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = {x, y, z};
        // What nobody has written is no number.
        m.shared.assign(static_cast<size_t>(shared_bytes) + 64, 0xff);
        m.fibres.assign(threads, Fibre{});
        for (size_t i = 0; i < threads; ++i) {
          Fibre& f = m.fibres[i];
          f.index = {static_cast<unsigned>(i % block.x), static_cast<unsigned>(i / block.x % block.y),
                     static_cast<unsigned>(i / block.x / block.y)};
          f.lane = static_cast<int>(i % 32);
        }
        run_block(name);
      }
    }
  }
}

void set_order(uint64_t seed) {
  machine().order = seed;
  machine().draws.seed(seed);
}

void* dynamic_shared() {
  auto address = reinterpret_cast<uintptr_t>(machine().shared.data());
  return reinterpret_cast<void*>((address + 15) / 16 * 16);
}

void fill_zero(void* memory, int64_t bytes) { std::memset(memory, 0, static_cast<size_t>(bytes)); }

void exchange(unsigned lanes, uint64_t value) {
  Fibre* self = machine().running;
  if ((lanes >> self->lane & 1u) == 0) throw std::runtime_error("a warp operation that does not name its own lane");
  self->brought = value;
  self->lanes = lanes;
  wait(State::kAtWarpOperation);
}

uint64_t value_of(int lane) { return machine().running->received[lane & 31]; }

void synchronise_block() { wait(State::kAtBlockBarrier); }

int lane() { return machine().running->lane; }

}  // namespace emulation
