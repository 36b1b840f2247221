#!/usr/bin/env bash
# What has to be measured on a GPU, in one go and in the order in which it matters, every step with a limit in seconds: a log and a JSON file
# each in the folder OUT, a summary at the end. A step that fails or is stopped does not end the others. Needs no network.
#     examples/benchmarks/gpu/session.sh OUT [STEP ...]
# Steps: info parity kernels t5-large llama-2-7b llama-2-13b. Where some are named, those are made.
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
}
peer() {
  local step=$1 limit=$2
  shift 2
  limited "$step" "$limit" "$node" --import tsx examples/benchmarks/peer.ts --device cuda --json "$out/$step.json" "$@"
}
no_checkpoints() { rm -rf "$scratch/recurrent-kif/peer/checkpoints"; }

info() {
  limited info 60 "$node" --import tsx lib/cli/main.ts info
}
parity() {
  RKIF_TEST_DEVICE=cuda limited parity 300 "$node" node_modules/mocha/bin/mocha.js 'test/parity/**/*.test.ts'
}
kernels() {
  limited kernels 240 build/cuda/rkif_cuda_kernels_benchmark --json "$out/kernels.json"
}

for step in "${@:-all}"; do
  case $step in
    info | parity | kernels | t5-large | llama-2-7b | llama-2-13b | all) ;;
    *) echo "$step: no such step" >&2 && exit 2 ;;
  esac
done
wanted() { [[ " ${steps[*]} " == *" all "* || " ${steps[*]} " == *" $1 "* ]]; }
steps=("${@:-all}")
wanted info && info
wanted parity && parity
wanted kernels && kernels
for model in t5-large llama-2-7b; do
  wanted $model || continue
  peer $model 560 --models $model --only step,method --torch-compile --compile-limit 150 --profile
  no_checkpoints
done
if wanted llama-2-13b; then
  peer llama-2-13b 280 --models llama-2-13b --only step --rounds 3 --steps 4 --batch 4
  peer llama-2-13b-checkpointed 280 --models llama-2-13b --only step --rounds 3 --steps 4 --gradient-checkpointing
  no_checkpoints
fi
echo "== summary"
printf '%s\n' "${summary[@]}" | tee "$out/summary.txt"
exit "$failed"
