#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>

#include "tests/providers/stand_in.h"

namespace {

using firn::bf16;
using firn::providers::device_of;
using firn::providers::from_device;
using firn::providers::to_device;

template <class T>
T get(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t name) {
  T value{};
  size_t written = 0;
  cublasLtMatrixLayoutGetAttribute(layout, name, &value, sizeof value, &written);
  return value;
}

bool transposed(cublasLtMatmulDesc_t product, cublasLtMatmulDescAttributes_t name) {
  cublasOperation_t value{};
  size_t written = 0;
  cublasLtMatmulDescGetAttribute(product, name, &value, sizeof value, &written);
  return value == CUBLAS_OP_T;
}

// A matrix in memory, read by columns.
struct Matrix {
  int64_t rows, columns, step, batch_step;
  cudaDataType_t type;
  void* memory;
  std::vector<double> values;

  Matrix(cublasLtMatrixLayout_t l, const void* at)
      : rows(static_cast<int64_t>(get<uint64_t>(l, CUBLASLT_MATRIX_LAYOUT_ROWS))),
        columns(static_cast<int64_t>(get<uint64_t>(l, CUBLASLT_MATRIX_LAYOUT_COLS))),
        step(get<int64_t>(l, CUBLASLT_MATRIX_LAYOUT_LD)),
        batch_step(get<int64_t>(l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET)),
        type(get<cudaDataType_t>(l, CUBLASLT_MATRIX_LAYOUT_TYPE)),
        memory(const_cast<void*>(at)),
        values(static_cast<size_t>((get<int32_t>(l, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT) - 1) * batch_step +
                                   columns * step)) {}
  double& operator()(int64_t n, int64_t row, int64_t column) {
    return values.at(static_cast<size_t>(n * batch_step + column * step + row));
  }
  void load() {
    values = type == CUDA_R_16BF ? from_device<bf16>(memory, values.size()) : from_device<float>(memory, values.size());
  }
  void store() const { type == CUDA_R_16BF ? to_device<bf16>(memory, values) : to_device<float>(memory, values); }
};

}  // namespace

using firn::providers::stand_in;

extern "C" {
size_t cublasLtGetVersion() { return 130100; }
cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  static int only;
  *handle = reinterpret_cast<cublasLtHandle_t>(&only);
  return CUBLAS_STATUS_SUCCESS;
}
// Two algorithms; the first needs a workspace. Both count on the alignment that is promised.
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t preference, int,
                                              cublasLtMatmulHeuristicResult_t results[], int* count) {
  *count = 2;
  uint32_t alignment = 256;
  for (const auto operand : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                             CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    uint32_t promised = 0;
    size_t written = 0;
    cublasLtMatmulPreferenceGetAttribute(preference, operand, &promised, sizeof promised, &written);
    alignment = std::min(alignment, promised);
  }
  for (int i = 0; i < 2; ++i) {
    results[i] = {};
    results[i].algo.data[0] = static_cast<uint64_t>(i);
    results[i].algo.data[1] = alignment;
    results[i].workspaceSize = i == 0 ? 1024 : 0;
  }
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t product, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void*, const void*, cublasLtMatrixLayout_t, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algorithm, void* workspace,
                              size_t, cudaStream_t stream) {
  if (device_of(stream) != stand_in().device) return CUBLAS_STATUS_INVALID_VALUE;
  if (algorithm->data[0] == 0 && !workspace) return CUBLAS_STATUS_INVALID_VALUE;
  for (const void* operand : {a, b, static_cast<const void*>(d)})
    if (reinterpret_cast<uintptr_t>(operand) % algorithm->data[1]) return CUBLAS_STATUS_INVALID_VALUE;
  stand_in().products.push_back(static_cast<int>(algorithm->data[0]));
  const bool t1 = transposed(product, CUBLASLT_MATMUL_DESC_TRANSA),
             t2 = transposed(product, CUBLASLT_MATMUL_DESC_TRANSB);
  firn::ptx::submit({[=, scale = *static_cast<const float*>(alpha),
                      batch = get<int32_t>(d_layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT), left = Matrix(a_layout, a),
                      right = Matrix(b_layout, b), result = Matrix(d_layout, d)] {
    Matrix first = left, second = right, y = result;
    first.load();
    second.load();
    const int64_t inner = t1 ? first.rows : first.columns;
    for (int64_t n = 0; n < batch; ++n)
      for (int64_t r = 0; r < y.rows; ++r)
        for (int64_t c = 0; c < y.columns; ++c) {
          double sum = 0;
          for (int64_t k = 0; k < inner; ++k)
            sum += (t1 ? first(n, k, r) : first(n, r, k)) * (t2 ? second(n, c, k) : second(n, k, c));
          y(n, r, c) = scale * sum;
        }
    y.store();
    return cudaSuccess;
  }});
  return CUBLAS_STATUS_SUCCESS;
}
}
