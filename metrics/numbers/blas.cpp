#include "metrics/numbers/blas.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <type_traits>

#include "base/error.h"

namespace firn {
namespace {

Blas load() {
  void* const file = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
  if (!file) throw Error(fmt::format("metrics need OpenBLAS: {}", dlerror()));
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(file, name));
    if (!function) throw Error(fmt::format("metrics need an OpenBLAS that has {}", name));
  };
  Blas b;
  find(b.gemm, "cblas_dgemm");
  find(b.singular, "dgesdd_");
  find(b.lq, "dgelqf_");
  find(b.solve, "dposv_");
  decltype(&openblas_set_num_threads) threads;
  find(threads, "openblas_set_num_threads");
  threads(1);
  return b;
}

}  // namespace

const Blas& blas() {
  static const Blas loaded = load();
  return loaded;
}

}  // namespace firn
