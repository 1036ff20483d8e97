#include "kernels/core/tensor_map.h"

#include "kernels/core/run.h"

#ifdef FIRN_CUDA
#include <cudaTypedefs.h>

#include <algorithm>

#include "kernels/core/cuda_check.h"

namespace firn::kernels {

namespace {

// The driver's own function, asked for at run time: programs start without a driver.
PFN_cuTensorMapEncodeTiled_v12000 encoder() {
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult found;
#if CUDART_VERSION >= 12050
  check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000, cudaEnableDefault, &found));
#else
  check(cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &entry, cudaEnableDefault, &found));
#endif
  if (found != cudaDriverEntryPointSuccess) throw DeviceError("the driver has no tensor maps; CUDA 12 brought them");
  return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(entry);
}

}  // namespace

TensorMap tensor_map(const bf16* data, std::initializer_list<int64_t> sizes, std::initializer_list<int> box) {
  static const auto encode = encoder();
  static_assert(sizeof(TensorMap) == sizeof(CUtensorMap) && alignof(TensorMap) >= alignof(CUtensorMap));
  cuuint64_t dimensions[5], strides[5], stride = sizeof(bf16);  // strides: from the second dimension on
  cuuint32_t extent[5], every[5];
  std::copy(sizes.begin(), sizes.end(), dimensions);
  std::copy(box.begin(), box.end(), extent);
  std::fill_n(every, 5, 1);
  for (size_t i = 0; i < sizes.size(); ++i) strides[i] = stride *= dimensions[i];
  TensorMap map;
  const CUresult status = encode(reinterpret_cast<CUtensorMap*>(&map), CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                                 static_cast<cuuint32_t>(sizes.size()), const_cast<bf16*>(data), dimensions, strides,
                                 extent, every, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                 CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) throw DeviceError(fmt::format("cuTensorMapEncodeTiled: error {}", int(status)));
  return map;
}

}  // namespace firn::kernels

#else

namespace firn::kernels {

TensorMap tensor_map(const bf16*, std::initializer_list<int64_t>, std::initializer_list<int>) {
  throw_without_cuda("tensor_map");
}

}  // namespace firn::kernels

#endif
