// What a profile counts, and of which threads.
#include <ATen/ThreadLocalState.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "models/device.h"
#include "models/profile.h"
#include "models_small_decoder.h"
#include "models_small_encoder.h"
#include "models_small_t5.h"
#include "models_training_checks.h"

using namespace rkif;
using namespace rkif::test;

namespace {

int64_t calls_of(const std::vector<OperatorTime>& operators, const std::string& name) {
  for (const OperatorTime& one : operators)
    if (one.name == name) return one.calls;
  return 0;
}

// Waits for the device in a training step, counted with whatever else libtorch's operators wait for.
int64_t waits_of_step(Model& model, const Batch& batch, bool loss_stays) {
  AccumulateOptions options = with_dropout();
  if (loss_stays) {
    options.report = room_beside<StepReport>(model.parameters(), 1);
    options.report.zero_();
  }
  model.accumulate(batch, options);
  start_profile();
  model.accumulate(batch, options);
  const std::vector<OperatorTime> operators = end_profile();
  int64_t waits = 0;
  for (const char* name : {kHostWait, "aten::_local_scalar_dense", "aten::nonzero", "aten::equal"})
    waits += calls_of(operators, name);
  return waits;
}

}  // namespace

TEST("profile: counts what the threads of a backward pass compute, not what others do") {
  const at::Tensor x = at::ones({2, 2});
  start_profile();
  at::mm(x, x);
  // As libtorch's engine does on a GPU's thread, more than one at a time.
  const at::ThreadLocalState state;
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      const at::ThreadLocalStateGuard as_there(state);
      for (int j = 0; j < 100; ++j) {
        NamedWork work("rkif::test");
        at::mm(x, x);
      }
    });
  }
  threads.emplace_back([&] { at::mm(x, x); });
  for (std::thread& thread : threads) thread.join();
  const std::vector<OperatorTime> operators = end_profile();
  CHECK_EQUAL(calls_of(operators, "aten::mm"), 201);
  CHECK_EQUAL(calls_of(operators, "rkif::test"), 200);
  for (const OperatorTime& one : operators) CHECK(one.seconds >= 0);
  CHECK(end_profile().empty());
}

TEST("profile: a training step waits for nothing but its loss, where that is asked for") {
  const auto check = [](const std::unique_ptr<Model>& model, const Batch& batch) {
    CHECK_EQUAL(waits_of_step(*model, batch, false), 1);
    CHECK_EQUAL(waits_of_step(*model, batch, true), 0);
  };
  check(small_model(small_config(Activation::kRelu, false), lora_options()), small_batch());
  check(small_model(small_config(Activation::kRelu, false), full_options()), small_batch());
  check(small_decoder_model(small_decoder(), decoder_lora()), decoder_batch());
  check(small_decoder_model(small_decoder(), full_options()), decoder_batch());
  const EncoderConfig config = small_encoder(EncoderNaming::kBert);
  check(small_encoder_model(config, adapter_options(encoder_linear_modules(config), {"query", "value"}, 0.1)),
        encoder_batch());
}

TEST("profile: what is read from a device is a wait") {
  const at::Tensor x = at::ones({3});
  start_profile();
  CHECK_EQUAL(read_value<float>(x.view(at::kByte), 1), 1.0f);
  on_host(x);
  CHECK_EQUAL(calls_of(end_profile(), kHostWait), 2);
}
