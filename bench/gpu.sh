#!/usr/bin/env bash
# Everything that is to be tried and measured on a GPU, in parts: is it right, then how fast, then why. Each part has its
# own time, and one that fails, hangs, is not installed or does not fit into the call is recorded as such: the next goes
# on. All ends in one JSON file and tables (bench/gpu_report.py). docs/profiling.md: First hour on a new GPU.
#   bench/gpu.sh                    from the first part on, for as long as a call may take
#   bench/gpu.sh --resume           the parts that no call has come to yet; --from PART, --only REGEX: these, again if need be
#   bench/gpu.sh --sizes 256/16384/16,64/16384/32   of these configurations alone (resolution/channel base/batch)
#   bench/gpu.sh --device cpu --tiny   every part in small on the CPU: a test of this script. --list: their names
#   BIN=build-cuda/bin OUT=gpu.json WORK=build-gpu PYTHON=python3   programs; result, or its folder; what parts leave
set -uo pipefail
command_line="$0 $*"
cd "$(dirname "$0")/.."

device=cuda tiny= only= from= resume= list= some= deadline=585
while (($#)); do
  case $1 in
    --device | --only | --from | --seconds | --sizes)
      [[ ${2:-} ]] || { echo "gpu.sh: $1 needs a value" >&2; exit 2; }
      case $1 in --device) device=$2 ;; --only) only=$2 ;; --from) from=$2 ;; --seconds) deadline=$2 ;; --sizes) some=$2 ;; esac
      shift 2 ;;
    --tiny) tiny=1; shift ;;
    --resume) resume=1; shift ;;
    --list) list=1; shift ;;
    *) echo "usage: bench/gpu.sh [--device cuda|cpu] [--tiny] [--seconds N] [--resume] [--from PART] [--only REGEX] [--sizes LIST] [--list]" >&2
      exit 2 ;;
  esac
done
[[ $device =~ ^(cuda|cpu)$ ]] || { echo "gpu.sh: --device $device: there are cuda and cpu" >&2; exit 2; }
[[ $deadline =~ ^[1-9][0-9]*$ ]] || { echo "gpu.sh: --seconds $deadline: a whole number is expected" >&2; exit 2; }
python=${PYTHON:-python3}
if [[ -z ${BIN:-} ]]; then
  if [[ -d bin ]]; then BIN=bin; elif [[ $device == cuda ]]; then BIN=build-cuda/bin; else BIN=build/bin; fi  # bin: a bundle
fi
out=${OUT:-bench/results/gpu.json}
[[ -d $out ]] && out=$out/gpu.json
keep=${WORK:-build-gpu}
[[ $keep == /* ]] || keep=$PWD/$keep
work=$keep/parts
export XDG_CACHE_HOME=$work/cache  # which way runs is measured here and now, and goes into the result

if [[ ! $list ]]; then
  [[ $resume$only$from ]] || rm -rf "$work"
  mkdir -p "$work/cache/firn" || exit 1
  if [[ -d $BIN/../plans && ! -d $work/cache/firn/plans ]]; then cp -r "$BIN/../plans" "$work/cache/firn/plans"; fi
fi
declare -A status
if [[ -f $work/parts.tsv ]]; then while IFS=$'\t' read -r name how _; do status[$name]=$how; done < "$work/parts.tsv"; fi
left=() tried=0

# Whether a part is to run in this call: named, or not tried yet, or not there before.
wanted() {
  [[ $1 == "$from" ]] && from=
  [[ ! $from && $1 =~ ${only:-.} ]] || return 1
  [[ ! $resume || ${status[$1]:-no time left} =~ ^(no time left|not installed)$ ]]
}

any_wanted() { [[ ! $list ]] && (for name; do wanted "$name" && exit; done; exit 1); }

# part NAME SECONDS COMMAND...: what it prints goes to NAME.out; one line of parts.tsv says how it went.
part() {
  local name=$1 budget=$2 how=passed start=$EPOCHREALTIME seconds
  shift 2
  if [[ $list ]]; then echo "$name"; return; fi
  wanted "$name" || return 0
  ((++tried))
  if ! command -v "$1" > /dev/null; then
    how="not installed"
  elif ((${#left[@]} || deadline - SECONDS < budget)); then  # what comes later builds on what comes first
    how="no time left"
    left+=("$name")
    [[ ${status[$name]:-$how} == "$how" ]] || return 0  # an earlier call's result stands
  else
    timeout -k 2 "$budget" "$@" > "$work/$name.out" 2> "$work/$name.err" < /dev/null
    case $? in
      0) ;;
      124 | 137) how="timed out" ;;
      *) how=failed ;;
    esac
    [[ $how == passed && $name =~ ^(tests|sanitizer)- ]] && grep -q 'PASSED  ] 0 tests' "$work/$name.out" && how="nothing ran"
  fi
  seconds=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
  status[$name]=$how
  printf '%s\t%s\t%s\t%s\t%s\n' "$name" "$how" "$seconds" "$budget" "$*" >> "$work/parts.tsv"
  printf '%-28s %6s s of %3s  %s\n' "$name" "$seconds" "$budget" "$how" >&2
}
report() { "$python" bench/gpu_report.py "$@" --work "$work"; }

if [[ $tiny ]]; then
  type=f32 torch_type=fp32
  sizes=16/256/4 few=$sizes freeze_size=16/256/4 freeze=1
  step=(--map-depth 2 --warm-up 1 --repeats 1 --cycles 1 --threads 1)
  once=(--map-depth 2 --warm-up 0 --repeats 1 --threads 1)
  torch=(--mapping-layers 2 --repeats 1 --threads 1 --format contiguous --fir depthwise)
  compare=(--resolution 16 --channel-base 128 --channel-max 16 --mapping-layers 2 --threads 1)
  ceiling=(--type f32 --size 256 --megabytes 16 --repeats 2)
  sngan=32/2 sngan_steps=(--ch 8 --warm-up 1 --repeats 1 --threads 1) sngan_torch=(--ch 8 --repeats 1 --threads 1 --format contiguous)
  layers=16/256/2 styled=layer/b16.styled/forward/f32
  ops=('^layer/b8.*f32' '^conv2d_k3_4x4/.*f32' '^matmul_nt/.*f32' '^upfirdn2d_asymmetric_crop/.*f32' '^freeze/layer/b8.*f32' '^softplus/')
else
  type=bf16 torch_type=bf16
  sizes=64/16384/32,32/32768/64,64/16384/64,128/16384/32,256/16384/16,256/16384/64,256/32768/32
  few=256/16384/16,256/16384/64 freeze_size=256/16384/16 freeze=5
  step=(--warm-up 10 --repeats 30 --cycles 4 --seconds 5)
  once=(--warm-up 0 --repeats 1)
  torch=(--warm-up 4 --repeats 20 --cycles 3 --seconds 8)
  compare=(--resolution 64 --channel-base 8192)
  ceiling=()
  sngan=32/64,64/64 sngan_steps=(--warm-up 10 --repeats 30 --seconds 8) sngan_torch=(--warm-up 4 --repeats 20)
  layers=256/16384/16 styled=layer/b64.styled/forward/bf16
  ops=('^layer/.*bf16' '^conv2d_' '^matmul_' '^upfirdn2d_' '^freeze/layer/.*bf16' '^(bias_act|synthesis_act|demodulation|minibatch|scale_|dot_|sum_|add_|mul_|permute)')
fi
if [[ $some ]]; then sizes=$some few=$some; fi
if [[ $device == cpu && ! $list ]]; then  # what needs a GPU is stood in for: it says how it was called and runs its program
  mkdir -p "$work/stand-ins"
  for tool in nvidia-smi compute-sanitizer ncu; do
    printf '#!/bin/sh\necho "stand-in for %s: $*"\nwhile [ $# -gt 0 ]; do case $1 in */*) [ -x "$1" ] && exec "$@" ;; esac; shift; done\n' \
      $tool > "$work/stand-ins/$tool"
    chmod +x "$work/stand-ins/$tool"
  done
  PATH=$work/stand-ins:$PATH
fi
if ldd "$BIN"/* 2> /dev/null | grep -q 'not found'; then  # PyTorch's packages have CUDA's libraries too
  found=$("$python" -c 'import nvidia, pathlib; print(*(d for p in nvidia.__path__ for d in pathlib.Path(p).glob("*/lib")), sep=":")' 2> /dev/null)
  export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/usr/local/cuda/lib64${found:+:$found}
fi

# What is there.
part smi 10 nvidia-smi
part version 20 "$BIN/gan-check" --version
part libraries 20 bench/libraries "$BIN"

# Is it right? A group of tests is a process, so that a hang or a device that is lost costs that group; sm_90a comes last.
# Times are for a first process, which plans.
tests() { part "tests-$1" "$2" "$BIN/firn_tests" --gtest_filter="$3"; }
tests updates 60 'Device/*:DeviceWeights.*:DeviceSums.*'
for t in f32 bf16 f64; do tests "ops-$t" 150 "Ops/DeviceOpTest.*_cuda_$t"; done
tests filters 30 'Upfirdn2d.*:*Upfirdn2dTest.*Gpu*'
tests layers 90 'DeviceLayers.*:*ConvBiasAct.*'
tests phases 120 'Step/*'
tests modulated 40 'ModulatedConv.*:*/ModulatedConvTest.*-*sm90*'
tests sm90-smallest 30 'Smallest/ModulatedConvTest.*sm90*'
tests sm90 40 'Cases/ModulatedConvTest.*sm90*'
part describe 30 "$BIN/ceilings" --device "$device" --describe "$work/device.json"
[[ ! -f $work/device.json ]] || cp "$work/device.json" "${out%.json}.device.json"
# A cache of its own: what is fastest there says nothing.
sanitize() { XDG_CACHE_HOME=$work/slow part "sanitizer-$1" "$3" compute-sanitizer --tool "$2" --error-exitcode 9 "$BIN/firn_tests" --gtest_filter="$4"; }
sanitize ops memcheck 60 'Ops/DeviceOpTest.*/conv2d_k3_cuda_*:*/upfirdn2d_blur_cuda_*:*/fromrgb_lrelu_cuda_*:Device/DeviceTest.Adam*'
sanitize modulated memcheck 60 'Smallest/ModulatedConvTest.*'
sanitize races racecheck 60 'Smallest/ModulatedConvTest.*/m64n64_each:*/m128n64_each*:*/up:*/down:Device/DeviceTest.Adam*'
sanitize barriers synccheck 40 'Smallest/ModulatedConvTest.*'
tests replay 90 'ReplayTest.*'
# Kernels of our own that are not right are left out of what follows.
wrong=
[[ ${status[tests-modulated]:-} =~ failed|timed ]] && wrong+=,modulated_conv,modulated_conv_up,conv_down
[[ ${status[tests-sm90-smallest]:-}${status[tests-sm90]:-} =~ failed|timed ]] && wrong+=,modulated_conv_sm90
own=(${wrong:+--no-own-kernels="${wrong#,}"})
# A leaky ReLU whose argument is within rounding of zero may fall on either side of it: hence more than f32's rounding.
part check-f32 120 "$BIN/gan-check" compare "${compare[@]}" --a cpu:f32 --b "$device:f32" --tolerance 0.02 --json "${own[@]}"
# R1's gradients of biases are next to nothing, and rounding to bf16 is much of them.
part check-bf16 120 "$BIN/gan-check" compare "${compare[@]}" --a cpu:f32 --b "$device:bf16" --tolerance 0.8 --json "${own[@]}"

# How fast? First all is planned, so that the times after it are those of what runs.
bench() {  # bench NAME SECONDS RESOLUTION/CHANNEL_BASE/BATCH OPTIONS...
  local name=$1 budget=$2 resolution base batch
  IFS=/ read -r resolution base batch <<< "$3"
  shift 3
  part "$name" "$budget" "$BIN/train_bench" --json --device "$device" --type $type --resolution "$resolution" \
    --channel-base "$base" --batch "$batch" "${own[@]}" "$@"
}
for size in ${sizes//,/ }; do bench "warm-up-${size//\//-}" 100 "$size" "${once[@]}"; done
part ceilings 20 "$BIN/ceilings" --device "$device" "${ceiling[@]}"
baseline=("$python" bench/pytorch_baseline.py --json --device "$device" "${torch[@]}")
"$python" -c 'import sys, importlib.util as u; sys.exit(not u.find_spec("torch"))' 2> /dev/null || baseline[0]="$python with torch"
part torch-ceilings 30 "${baseline[@]}" --ceilings
for size in ${sizes//,/ }; do bench "step-${size//\//-}" 15 "$size" "${step[@]}"; done
for ((k = 0; k <= freeze; ++k)); do bench "freeze-$k" 12 "$freeze_size" "${step[@]}" --frozen-blocks $k; done
bench "freeze-$freeze-cached" 12 "$freeze_size" "${step[@]}" --frozen-blocks $freeze --cache-features

for size in ${sngan//,/ }; do
  for k in 0 4; do
    part "sngan-own-${size/\//-}-$k" 60 "$BIN/train_bench" --json --device "$device" --type $type --model sngan --classes 10 \
      --resolution "${size%/*}" --batch "${size#*/}" --frozen-blocks $k "${own[@]}" "${sngan_steps[@]}"
  done
done

op_bench=("$BIN/op_bench" --device "$device" --layers $layers "${own[@]}")
groups=(layers conv matmul fir freeze rest) budgets=(50 40 20 20 30 20) ceilings=()
any_wanted "${groups[@]/#/ops-}" && read -ra ceilings <<< "$(report ceilings)"
for i in "${!groups[@]}"; do
  part "ops-${groups[i]}" "${budgets[i]}" "${op_bench[@]}" "${ceilings[@]}" --benchmark_filter="${ops[i]}" \
    --benchmark_min_time=0.02 --benchmark_out="$work/ops-${groups[i]}.json" --benchmark_out_format=json
done

# PyTorch in each of its settings; the fastest of them is the peer.
part torch-eager 85 "${baseline[@]}" --dtype $torch_type --sizes $sizes --modulation improved
part torch-graphs 100 "${baseline[@]}" --dtype $torch_type --sizes $sizes --modulation improved --graphs
part torch-compiled 150 "${baseline[@]}" --dtype $torch_type --sizes $few --modulation improved --compile
part torch-compiled-graphs 100 "${baseline[@]}" --dtype $torch_type --sizes $few --modulation improved --compile --graphs
part torch-default 30 "${baseline[@]}" --dtype $torch_type --sizes $few --modulation default
part torch-fp16 30 "${baseline[@]}" --dtype fp16 --sizes $few --modulation improved
part torch-freeze 60 "${baseline[@]}" --dtype $torch_type --sizes "$freeze_size" --modulation improved --freeze-sweep $freeze --seconds 5
part torch-freeze-graphs 60 "${baseline[@]}" --dtype $torch_type --sizes "$freeze_size" --modulation improved --freeze-sweep $freeze --seconds 5 --graphs
sngan_baseline=("${baseline[0]}" bench/pytorch_sngan.py --json --device "$device" --dtype $torch_type "${sngan_torch[@]}")
for size in ${sngan//,/ }; do
  for how in '' --graphs --compile '--compile --graphs'; do
    [[ $device == cuda || ! $how ]] || continue
    name=${how//--/-}
    # shellcheck disable=SC2086
    part "sngan-torch-${size/\//-}${name// /}" 90 "${sngan_baseline[@]}" --resolution "${size%/*}" --batch "${size#*/}" $how
  done
done

# Why? What decides the next step: the memories, the tensor pipe and the issue slots, of our kernels and of the worst ops.
percent=avg.pct_of_peak_sustained
metrics=gpu__time_duration.sum,sm__throughput.${percent}_elapsed,dram__throughput.${percent}_elapsed
metrics+=,lts__throughput.${percent}_elapsed,lts__t_sector_hit_rate.pct,l1tex__throughput.${percent}_active
metrics+=,l1tex__data_pipe_lsu_wavefronts_mem_shared.${percent}_elapsed,l1tex__data_bank_conflicts_pipe_lsu_mem_shared.sum
metrics+=,sm__pipe_tensor_cycles_active.${percent}_active,sm__inst_executed_pipe_tensor_op_gmma.${percent}_active
metrics+=,sm__inst_issued.${percent}_active,smsp__issue_active.${percent}_active,smsp__warps_eligible.avg.per_cycle_active
metrics+=,sm__warps_active.${percent}_active,launch__registers_per_thread,launch__waves_per_multiprocessor
profile() {  # profile NAME KERNELS FILTER LAUNCHES-BEFORE: by metrics; by sections where this version of ncu does not know one of them
  local run=(ncu --clock-control none --kernel-name-base demangled --kernel-name "regex:$2" --csv)
  local program=("${op_bench[@]}" --benchmark_filter="$3" --benchmark_min_time=0.001)
  part "ncu-$1" 40 "${run[@]}" --launch-skip "$4" --launch-count 6 --metrics $metrics "${program[@]}"
  if [[ $list || ${status[ncu-$1]:-} == failed ]]; then
    part "ncu-$1-sections" 30 "${run[@]}" --launch-skip "$4" --launch-count 3 --section SpeedOfLight --section Occupancy "${program[@]}"
  fi
}
profile wgmma ModulatedConvSm90 "^$styled" 1
profile fir Upfirdn2d '^upfirdn2d_(blur|up2|down2)/forward' 1
profile rgb Thin '^(matmul_batched_torgb|fromrgb_lrelu)/' 1
i=0
if any_wanted ncu-worst-{1,2,3}; then
  while read -r name; do
    [[ ! $name ]] || profile "worst-$((i += 1))" . "^$name/" 12  # none: no ops were measured
  done < <(report worst)
fi
[[ ! $list ]] || exit 0
if [[ $only$from ]] && ((tried == 0)); then
  echo "gpu.sh: no part is called ${only:-$from}; --list names them" >&2
  exit 1
fi

report write --out "$out" --device "$device" --command "$command_line" || written=no
if ((${#left[@]})); then
  echo; echo "no time was left for: ${left[*]}"
  options="--device $device${tiny:+ --tiny}${some:+ --sizes $some}"
  printf 'bench/gpu.sh %s --resume runs them, or alone\nbench/gpu.sh %s --only %q\n' "$options" "$options" "^($(IFS='|'; echo "${left[*]}"))\$"
fi
[[ ! ${written:-} ]] || { echo "gpu.sh: there is no $out: bench/gpu_report.py failed; what the parts said is in $work" >&2; exit 1; }
