// Stands in for the driver's tensor maps, and for the way to it.
#include <cudaTypedefs.h>
#include <cuda_runtime_api.h>

#include <cstring>
#include <string_view>

#include "tests/ptx/bulk.h"

namespace firn::ptx {
namespace {

// Tensors of bf16 in a 128-byte swizzle, with what the driver checks of such.
CUresult encode_tiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* data, const cuuint64_t* sizes,
                      const cuuint64_t* strides, const cuuint32_t* box, const cuuint32_t* steps,
                      CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion,
                      CUtensorMapFloatOOBfill fill) {
  if (type != CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 || interleave != CU_TENSOR_MAP_INTERLEAVE_NONE ||
      swizzle != CU_TENSOR_MAP_SWIZZLE_128B || fill != CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE)
    return CUDA_ERROR_NOT_SUPPORTED;
  TensorMapFields m;
  bool valid = rank >= 1 && rank <= 5 && reinterpret_cast<uintptr_t>(map) % 64 == 0 &&
               reinterpret_cast<uintptr_t>(data) % 16 == 0;
  for (size_t i = 0; valid && i < rank; ++i) {
    m.size[i] = static_cast<uint32_t>(sizes[i]);
    m.stride[i] = i == 0 ? sizeof(uint16_t) : strides[i - 1];
    m.box[i] = box[i];
    valid = sizes[i] >= 1 && sizes[i] < uint64_t{1} << 32 && box[i] >= 1 && box[i] <= 256 && steps[i] == 1 &&
            (i == 0 || (m.stride[i] % 16 == 0 && m.stride[i] < uint64_t{1} << 40));
  }
  const size_t row_bytes = m.box[0] * sizeof(uint16_t);
  if (!valid || row_bytes % 16 || row_bytes > 128) return CUDA_ERROR_INVALID_VALUE;
  m.rank = static_cast<uint16_t>(rank);
  m.element_bytes = sizeof(uint16_t);
  m.address = reinterpret_cast<uint64_t>(data);
  *map = {};
  std::memcpy(map, &m, sizeof m);
  return CUDA_SUCCESS;
}

}  // namespace
}  // namespace firn::ptx

extern "C" {
#if CUDART_VERSION >= 12050
cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** entry, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* found) {
#else
cudaError_t cudaGetDriverEntryPoint(const char* symbol, void** entry, unsigned long long,
                                    cudaDriverEntryPointQueryResult* found) {
#endif
  const bool known = std::string_view(symbol) == "cuTensorMapEncodeTiled";
  *entry = known ? reinterpret_cast<void*>(PFN_cuTensorMapEncodeTiled_v12000{firn::ptx::encode_tiled}) : nullptr;
  *found = known ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}
}
