#!/usr/bin/env bash
# Everything that is to be measured on a GPU, in one call of under ten minutes and into one JSON file; the tables are
# printed at the end. A part that fails, is not installed or runs out of its time is recorded as such, and the next goes on.
#   BIN=build-cuda/bin OUT=gpu.json bench/gpu.sh            programs that are built already; the result, or its folder
#   PYTHON=/usr/bin/python3 bench/gpu.sh --device cpu --tiny   every part in small on the CPU: a test of this script
set -uo pipefail
command_line="$0 $*"
cd "$(dirname "$0")/.."

device=cuda tiny= only=.
while (($#)); do
  case $1 in
    --device) device=$2; shift 2 ;;
    --tiny) tiny=1; shift ;;
    --only) only=$2; shift 2 ;;  # parts whose names match this regular expression
    *) echo "usage: bench/gpu.sh [--device cuda|cpu] [--tiny] [--only REGEX]" >&2; exit 2 ;;
  esac
done
python=${PYTHON:-python3}
if [[ -z ${BIN:-} ]]; then
  [[ $device == cuda ]] && BIN=build-cuda/bin || BIN=build/bin
fi
out=${OUT:-bench/results/gpu.json}
[[ -d $out ]] && out=$out/gpu.json
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
deadline=585
export XDG_CACHE_HOME=$work/cache  # which way runs is measured here and now, and goes into the result

# part NAME SECONDS COMMAND...: what it prints goes to NAME.out; one line of parts.tsv says how it went.
part() {
  local name=$1 budget=$2 limit status=passed start=$EPOCHREALTIME
  shift 2
  [[ $name =~ $only ]] || return 0
  limit=$((deadline - SECONDS < budget ? deadline - SECONDS : budget))
  if ! command -v "$1" > /dev/null; then
    status="not installed"
  elif ((limit < 2)); then
    status="no time left"
  else
    timeout -k 2 "$limit" "$@" > "$work/$name.out" 2> "$work/$name.err" < /dev/null
    case $? in
      0) ;;
      124 | 137) status="timed out" ;;
      *) status=failed ;;
    esac
  fi
  local seconds
  seconds=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
  printf '%s\t%s\t%s\t%s\t%s\n' "$name" "$status" "$seconds" "$budget" "$*" >> "$work/parts.tsv"
  printf '%-28s %6s s of %3s  %s\n' "$name" "$seconds" "$budget" "$status" >&2
}
report() { "$python" bench/gpu_report.py "$@" --work "$work"; }

if [[ $tiny ]]; then
  type=f32 torch_type=fp32
  sizes=16/256/4 few=$sizes freeze_size=16/256/4 freeze=1
  step=(--mapping-layers 2 --warm-up 1 --repeats 1 --cycles 1 --threads 1)
  torch=(--mapping-layers 2 --repeats 1 --threads 1 --format contiguous --fir depthwise)
  compare=(--resolution 16 --channel-base 128 --channel-max 16 --mapping-layers 2 --threads 1)
  ceiling=(--type f32 --size 256 --megabytes 16 --repeats 2)
  layers=16/256/2
  ops=('^layer/b8.*f32' '^conv2d_k3_4x4/.*f32' '^matmul_nt/.*f32' '^upfirdn2d_asymmetric_crop/.*f32' '^freeze/layer/b8.*f32' '^softplus/')
  tests='Tape.*' sanitized='Tape.*'
else
  type=bf16 torch_type=bf16
  sizes=64/16384/32,32/32768/64,64/16384/64,128/16384/32,256/16384/16,256/16384/64,256/32768/32
  few=256/16384/16,256/16384/64 freeze_size=256/16384/16 freeze=5
  step=(--warm-up 10 --repeats 30 --cycles 4 --seconds 5)
  torch=(--warm-up 4 --repeats 20 --cycles 3 --seconds 8)
  compare=(--resolution 64 --channel-base 8192)
  ceiling=()
  layers=256/16384/16
  ops=('^layer/.*bf16' '^conv2d_' '^matmul_' '^upfirdn2d_' '^freeze/layer/.*bf16' '^(bias_act|synthesis_act|demodulation|minibatch|scale_|dot_|sum_|add_|mul_|permute)')
  tests='*_cuda_*:Device*:Step/*:Replay*:*ModulatedConv*:*Upfirdn2d*' sanitized='Ops/DeviceOpTest.*conv2d_k3_*:Ops/DeviceOpTest.*upfirdn2d_blur_cuda*:Step/*'
fi
baseline=("$python" bench/pytorch_baseline.py --json --device "$device" "${torch[@]}")

# Seconds at most: 35 ceilings, 40 correctness, 84 steps, 42 freezing, 109 ops, 180 PyTorch, 60 tests and sanitizer, 36 ncu.
[[ $device == cuda ]] && part smi 5 nvidia-smi
part ceilings 12 "$BIN/ceilings" --device "$device" "${ceiling[@]}"
[[ $device == cuda ]] && part torch-ceilings 18 "${baseline[@]}" --ceilings

# A leaky ReLU whose argument is within rounding of zero may fall on either side of it: hence more than f32's rounding.
part check-f32 20 "$BIN/gan-check" compare "${compare[@]}" --a cpu:f32 --b "$device:f32" --tolerance 0.02 --json
part check-bf16 20 "$BIN/gan-check" compare "${compare[@]}" --a cpu:f32 --b "$device:bf16" --tolerance 0.6 --json

for size in ${sizes//,/ }; do
  IFS=/ read -r resolution base batch <<< "$size"
  part "step-${size//\//-}" 12 "$BIN/train_bench" --json --device "$device" --type $type --resolution "$resolution" \
    --channel-base "$base" --batch "$batch" "${step[@]}"
done
IFS=/ read -r resolution base batch <<< "$freeze_size"
for ((k = 0; k <= freeze; ++k)); do
  part "freeze-$k" 7 "$BIN/train_bench" --json --device "$device" --type $type --resolution "$resolution" \
    --channel-base "$base" --batch "$batch" "${step[@]}" --frozen-blocks $k
done
part "freeze-$freeze-cached" 7 "$BIN/train_bench" --json --device "$device" --type $type --resolution "$resolution" \
  --channel-base "$base" --batch "$batch" "${step[@]}" --frozen-blocks $freeze --cache-features

read -ra ceilings <<< "$(report ceilings)"
groups=(layers conv matmul fir freeze rest) budgets=(35 20 12 10 20 12)
for i in "${!groups[@]}"; do
  part "ops-${groups[i]}" "${budgets[i]}" "$BIN/op_bench" --device "$device" "${ceilings[@]}" --layers $layers \
    --benchmark_filter="${ops[i]}" --benchmark_min_time=0.02 --benchmark_out="$work/ops-${groups[i]}.json" --benchmark_out_format=json
done

part torch-improved 85 "${baseline[@]}" --dtype $torch_type --sizes $sizes --modulation improved
part torch-default 20 "${baseline[@]}" --dtype $torch_type --sizes $few --modulation default
part torch-freeze 20 "${baseline[@]}" --dtype $torch_type --sizes "$freeze_size" --modulation improved --freeze-sweep $freeze --seconds 3
if [[ $device == cuda ]]; then
  part torch-fp16 15 "${baseline[@]}" --dtype fp16 --sizes $few --modulation improved
  part torch-compiled 40 "${baseline[@]}" --dtype bf16 --sizes $few --modulation improved --compile
fi

part tests 30 "$BIN/firn_tests" --gtest_brief=1 --gtest_filter="$tests"
part sanitizer 30 compute-sanitizer --tool memcheck --error-exitcode 9 "$BIN/firn_tests" --gtest_brief=1 --gtest_filter="$sanitized"

i=0
while read -r name; do
  [[ $name ]] || continue  # no ops were measured
  part "ncu-$((i += 1))" 12 ncu --clock-control none --launch-skip 4 --launch-count 8 --section SpeedOfLight --section Occupancy --csv \
    "$BIN/op_bench" --device "$device" --layers $layers --benchmark_filter="^$name/" --benchmark_min_time=0.001
done < <(report worst)

report write --out "$out" --device "$device" --command "$command_line"
