#include "kernels/gemm/gemm_onednn.h"

#include "base/error.h"
#include "kernels/device/onednn.h"

namespace firn::kernels::onednn {

namespace {

// The library keeps recent primitives itself; a descriptor a call is cheap beside the products that come here in bf16.
void bf16_gemm(const GemmProblem& p, void* y, const void* a, const void* b) {
  using dnnl::memory;
  const auto md = [&](int64_t rows, int64_t columns, bool transposed, bool shared, DType type) {
    const memory::dims strides{shared ? 0 : rows * columns, transposed ? 1 : columns, transposed ? rows : 1};
    return memory::desc({shared ? 1 : p.batch, rows, columns}, data_type(type), strides);
  };
  const memory::desc da = md(p.M, p.K, p.trans_a, p.share_a, p.type), db = md(p.K, p.N, p.trans_b, p.share_b, p.type);
  const memory::desc dy = md(p.M, p.N, false, false, p.y_type);
  auto attr = user_scratchpad();
  const Scale alpha(p.alpha);
  alpha.set(attr);
  const auto pd = describe<dnnl::matmul>(attr, da, db, dy);
  const Buffer scratch(pd.scratchpad_desc());
  Arguments arguments{{DNNL_ARG_SRC, memory(da, engine(), const_cast<void*>(a))},
                      {DNNL_ARG_WEIGHTS, memory(db, engine(), const_cast<void*>(b))},
                      {DNNL_ARG_DST, memory(dy, engine(), y)},
                      {DNNL_ARG_SCRATCHPAD, memory(pd.scratchpad_desc(), engine(), scratch.data())}};
  alpha.pass(arguments);
  dnnl::matmul(pd).execute(stream(), arguments);
}

void f32_gemm(const GemmProblem& p, float* y, const float* a, const float* b) {
  require_room_once();
  for (int64_t n = 0; n < p.batch; ++n) {
    const auto status =
        dnnl_sgemm(p.trans_a ? 'T' : 'N', p.trans_b ? 'T' : 'N', p.M, p.N, p.K, static_cast<float>(p.alpha),
                   a + (p.share_a ? 0 : n * p.M * p.K), p.trans_a ? p.M : p.K, b + (p.share_b ? 0 : n * p.K * p.N),
                   p.trans_b ? p.K : p.N, 0.0f, y + n * p.M * p.N, p.N);
    if (status != dnnl_success) throw DeviceError(fmt::format("gemm: oneDNN cannot run {}x{}x{}", p.M, p.N, p.K));
  }
}

}  // namespace

bool has_bf16() {
  constexpr auto bf16 = static_cast<int>(dnnl::cpu_isa::avx512_core_bf16);  // later ones have its bits, too
  return (static_cast<int>(dnnl::get_effective_cpu_isa()) & bf16) == bf16;
}

void gemm(const GemmProblem& p, void* y, const void* a, const void* b) {
  if (p.type == DType::f32)
    return f32_gemm(p, static_cast<float*>(y), static_cast<const float*>(a), static_cast<const float*>(b));
  try {
    bf16_gemm(p, y, a, b);
  } catch (const dnnl::error& e) {
    throw DeviceError(fmt::format("gemm: oneDNN cannot run {}x{}x{}: {}", p.M, p.N, p.K, e.message));
  }
}

}  // namespace firn::kernels::onednn
