#include "kernels/device/cpu_limits.h"

#include <omp.h>

#include <chrono>
#include <map>
#include <memory>

#include "kernels/device/device_info.h"
#include "kernels/device/onednn.h"

namespace firn::kernels {

namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif
using Vector = float __attribute__((vector_size(kVectorBytes)));

constexpr int kChains = 12;  // more than two units' latency needs, and with two operands no more than AVX2's registers
constexpr int kSteps = 1 << 14;
constexpr double kFlops = 2.0 * kSteps * kChains * (kVectorBytes / sizeof(float));

// Of the fastest of many short rounds: programs beside this one cost a thread some of its rounds, and not the limit.
template <class F>
double best_rate(double amount, F&& round) {
  using Clock = std::chrono::steady_clock;
  using Seconds = std::chrono::duration<double>;
  double best = 1e300;
  const auto begin = Clock::now();
  for (auto now = begin; Seconds(now - begin).count() < 0.025;) {
    const auto before = now;
    round();
    now = Clock::now();
    best = std::min(best, Seconds(now - before).count());
  }
  return amount / best;
}

// As if somebody had written these, and will read them.
void keep(void* values) { asm volatile("" : : "r"(values) : "memory"); }

void multiply_add() {
  Vector sums[kChains] = {};
  keep(sums);
  for (int step = 0; step < kSteps; ++step)
    for (Vector& s : sums) s = s * 0.5f + 1.0f;
  keep(sums);
}

double fma_rate() {
  double sum = 0;
#pragma omp parallel reduction(+ : sum)
  sum += best_rate(kFlops, multiply_add);
  return sum;
}

double triad_rate(int threads) {
  constexpr size_t least = size_t{48} << 20, round = size_t{1} << 16;
  const size_t caches = 4 * device_info({}).l2_bytes * static_cast<size_t>(threads);
  const size_t rounds = std::max(least, caches) / (3 * sizeof(float) * round * static_cast<size_t>(threads));
  double sum = 0;
#pragma omp parallel reduction(+ : sum)
  {
    const size_t each = rounds * round;
    const auto memory = std::make_unique<float[]>(3 * each);  // near the thread that touches it first
    size_t at = 0;
    sum += best_rate(3.0 * sizeof(float) * round, [&, a = memory.get()] {
      for (size_t i = at; i < at + round; ++i) a[i] = a[each + i] + 0.5f * a[2 * each + i];
      at = (at + round) % each;
      keep(a);
    });
  }
  return sum;
}

double bf16_rate(int threads) {
  using dnnl::memory;
  constexpr int needed = static_cast<int>(dnnl::cpu_isa::avx512_core_bf16);
  if ((static_cast<int>(dnnl::get_effective_cpu_isa()) & needed) != needed) return 0;
  const memory::dim rows = 256 * threads, size = 512;
  const auto bf16 = memory::data_type::bf16;
  const memory::desc a({rows, size}, bf16, memory::format_tag::ab), b({size, size}, bf16, memory::format_tag::any);
  const memory::desc y({rows, size}, memory::data_type::f32, memory::format_tag::ab);
  const auto how = onednn::describe<dnnl::matmul>({}, a, b, y);
  const dnnl::matmul product(how);
  const auto zeros = [](const memory::desc& md) {
    memory m(md, onednn::engine());
    std::fill_n(static_cast<char*>(m.get_data_handle()), md.get_size(), 0);
    return m;
  };
  const onednn::Arguments arguments{
      {DNNL_ARG_SRC, zeros(a)}, {DNNL_ARG_WEIGHTS, zeros(how.weights_desc())}, {DNNL_ARG_DST, zeros(y)}};
  return best_rate(2.0 * double(rows * size * size), [&] {
    product.execute(onednn::stream(), arguments);
    onednn::stream().wait();
  });
}

}  // namespace

const CpuLimits& cpu_limits() {
  static std::map<int, CpuLimits> measured;
  const int threads = omp_get_max_threads();
  const auto [found, missing] = measured.try_emplace(threads);
  if (missing) found->second = {.fma = fma_rate(), .product = bf16_rate(threads), .bytes = triad_rate(threads)};
  return found->second;
}

}  // namespace firn::kernels
