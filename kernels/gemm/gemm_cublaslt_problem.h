// A matrix product in cuBLASLt's terms. Making it needs no GPU.
#pragma once
#include <cublasLt.h>

#include <memory>

#include "base/error.h"
#include "kernels/gemm/gemm.h"

namespace firn {

void check(cublasStatus_t, std::source_location at = std::source_location::current());

}  // namespace firn

namespace firn::kernels::cublaslt {

// An algorithm that wants more workspace than this is not used.
constexpr size_t kWorkspaceBound = size_t{64} << 20;

// An algorithm may count on this much at most.
constexpr uint32_t kMostAlignment = 256;

class Problem {
 public:
  // f32 or bf16; all operands begin at multiples of `alignment` bytes.
  Problem(const GemmProblem&, bool tf32, uint32_t alignment = kMostAlignment);
  cublasLtMatmulDesc_t product() const { return product_.get(); }
  cublasLtMatrixLayout_t a() const { return a_.get(); }
  cublasLtMatrixLayout_t b() const { return b_.get(); }
  cublasLtMatrixLayout_t y() const { return y_.get(); }
  cublasLtMatmulPreference_t preference() const { return preference_.get(); }

 private:
  template <class T>
  using Owned = std::shared_ptr<std::remove_pointer_t<T>>;
  Owned<cublasLtMatmulDesc_t> product_;
  Owned<cublasLtMatrixLayout_t> a_, b_, y_;
  Owned<cublasLtMatmulPreference_t> preference_;
};

}  // namespace firn::kernels::cublaslt
