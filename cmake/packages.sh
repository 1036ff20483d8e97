# Debian packages that Firn needs, and a function that installs what is missing. Sourced by quickstart, check and .ci/run.
build_packages=(
  g++ cmake ninja-build pkg-config python3
  libdnnl-dev libcli11-dev nlohmann-json3-dev libfmt-dev libzip-dev zlib1g-dev libpng-dev libjpeg-dev libwebp-dev
  libopenblas-pthread-dev libprotobuf-dev protobuf-compiler libstb-dev libgtest-dev libbenchmark-dev
)
data_packages=(dataset-fashion-mnist)
process_packages=(openmpi-bin libopenmpi-dev mpich libmpich-dev iproute2)  # -DFIRN_MPI=ON, and its tests

install_missing() {
  if ! command -v dpkg-query > /dev/null; then
    echo "not a Debian system; these packages or their like are needed: $*"
    return
  fi
  local missing=() package
  for package in "$@"; do
    [[ $(dpkg-query -W -f='${Status}' "$package" 2> /dev/null) == "install ok installed" ]] || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  local root=()
  if ((EUID)); then
    command -v sudo > /dev/null || { echo "missing packages: ${missing[*]}; run as root: apt-get install ${missing[*]}" >&2; return 1; }
    root=(sudo)
  fi
  echo "installing ${missing[*]}"
  "${root[@]}" apt-get update -qq
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
}

# nvcc, where there is one: on the path, or where NVIDIA's installer puts it.
find_nvcc() { command -v nvcc || { [[ -x /usr/local/cuda/bin/nvcc ]] && echo /usr/local/cuda/bin/nvcc; }; }

has_gpu() { command -v nvidia-smi > /dev/null && nvidia-smi -L 2> /dev/null | grep -q GPU; }

# What FIRN_CUDA is to be: with a GPU, cmake/cuda.cmake looks for the rest and says what is missing.
cuda_or_not() { if has_gpu; then echo AUTO; else echo OFF; fi; }

# configure FOLDER OPTIONS...: quiet unless it fails, but for what it says of CUDA.
configure() {
  local folder=$1 log
  shift
  log=$(cmake -S . -B "$folder" -G Ninja "$@" 2>&1) || { echo "$log"; return 1; }
  sed -n 's/^-- CUDA: //p' <<< "$log"
}
