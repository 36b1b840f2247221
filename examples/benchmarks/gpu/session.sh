#!/usr/bin/env bash
# What has to be measured on a GPU, in one go and in the order in which it matters, every step with a limit in seconds: a log and a JSON file
# each in the folder OUT, a summary at the end. A step that fails or is stopped does not end the others. Needs no network.
#     examples/benchmarks/gpu/session.sh OUT [STEP ...]
# Steps: info tests parity kernels t5-large llama-2-7b llama-2-13b compiled. Where some are named, those are made.
#     RKIF_PYTHON    a Python with torch, transformers and peft (default: python3)
#     RKIF_LIBTORCH  libtorch with CUDA (default: that Python's)
#     RKIF_SCRATCH   folder for checkpoints with random weights, up to 27 GB at a time, which are removed (default: memory, where it is large
#                    enough, else /tmp)
set -u
out=${1:?expected a folder for the results}
shift
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/../../.." || exit 1
node=node
[ -x bin/node ] && node=$PWD/bin/node # of a bundle
export RKIF_PYTHON=${RKIF_PYTHON:-$(command -v python3)}
if [ -z "${RKIF_LIBTORCH:-}" ]; then
  RKIF_LIBTORCH=$("$RKIF_PYTHON" -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])')
  export RKIF_LIBTORCH
fi
gigabytes_free() { df -P "$1" 2>/dev/null | awk 'NR == 2 { print int($4 / 1e6) }'; }
scratch=${RKIF_SCRATCH:-}
if [ -z "$scratch" ]; then
  scratch=/tmp
  [ "$(gigabytes_free /dev/shm || echo 0)" -ge 30 ] && scratch=/dev/shm
fi
scratch=$(mktemp -d "$scratch/rkif-gpu.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
export XDG_CACHE_HOME=$scratch

summary=()
failed=0
# limited STEP SECONDS COMMAND...: runs it, with its output in OUT/STEP.log and here.
limited() {
  local step=$1 limit=$2 started=$SECONDS status
  shift 2
  echo "== $step (at most $limit s)"
  timeout --kill-after=10 "$limit" "$@" 2>&1 | tee "$out/$step.log"
  status=${PIPESTATUS[0]}
  local word=done
  [ "$status" -eq 0 ] || { word="failed ($status)" failed=1; }
  [ "$status" -eq 124 ] && word="stopped after $limit s"
  summary+=("$step: $word, $((SECONDS - started)) s")
  return "$status"
}
peer() {
  local step=$1 limit=$2
  shift 2
  limited "$step" "$limit" "$node" --import tsx examples/benchmarks/peer.ts --device cuda --json "$out/$step.json" "$@"
}
no_checkpoints() { rm -rf "$scratch/recurrent-kif/peer/checkpoints"; }

info() {
  # What the peer needs, and the driver: a minute here instead of in every step.
  limited python 60 "$RKIF_PYTHON" -c '
import torch, transformers, peft
print("torch", torch.__version__, "transformers", transformers.__version__, "peft", peft.__version__)
print(torch.cuda.get_device_name(0), torch.zeros(1, device="cuda").cpu())'
  limited info 60 "$node" --import tsx lib/cli/main.ts info
}
# Every kernel against the CPU's, then models with them: the C++ tests, on the card.
tests() {
  local libraries=$RKIF_LIBTORCH/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  LD_LIBRARY_PATH=$libraries limited tests 90 build/cuda/rkif_cuda_tests cuda
  LD_LIBRARY_PATH=$libraries limited tests-models 120 build/cuda/rkif_cuda_tests --kernels-of-gpu
}
parity() {
  local mocha=("$node" node_modules/mocha/bin/mocha.js 'test/parity/**/*.test.ts')
  RKIF_TEST_DEVICE=cuda limited parity 150 "${mocha[@]}" && return
  # After one fault of the card all that follows fails, and says nothing of the kernel: here it does.
  CUDA_LAUNCH_BLOCKING=1 RKIF_TEST_DEVICE=cuda limited parity-blocking 60 "${mocha[@]}" --bail
}
kernels() {
  limited kernels 180 build/cuda/rkif_cuda_kernels_benchmark --json "$out/kernels.json"
}

for step in "${@:-all}"; do
  case $step in
    info | tests | parity | kernels | t5-large | llama-2-7b | llama-2-13b | compiled | all) ;;
    *) echo "$step: no such step" >&2 && exit 2 ;;
  esac
done
wanted() { [[ " ${steps[*]} " == *" all "* || " ${steps[*]} " == *" $1 "* ]]; }
steps=("${@:-all}")
wanted info && info
wanted tests && tests
wanted parity && parity
wanted kernels && kernels
for model in t5-large llama-2-7b; do
  wanted $model || continue
  peer $model 390 --models $model --only step,method --profile
  no_checkpoints
done
if wanted llama-2-13b; then
  peer llama-2-13b 260 --models llama-2-13b --only step --rounds 3 --steps 4 --batch 4
  peer llama-2-13b-checkpointed 260 --models llama-2-13b --only step --rounds 3 --steps 4 --gradient-checkpointing
  no_checkpoints
fi
# Last: compiling may take longer than all else, and comes to nothing where it is late.
if wanted compiled; then
  for model in t5-large llama-2-7b; do
    peer $model-compiled 280 --models $model --only step --rounds 3 --torch-compile --compile-limit 150
    no_checkpoints
  done
fi
echo "== summary"
printf '%s\n' "${summary[@]}" | tee "$out/summary.txt"
exit "$failed"
