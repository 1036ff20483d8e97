#include "kernels/device/cpu_limits.h"

#include <omp.h>

#include <chrono>
#include <map>
#include <memory>

#include "kernels/core/cpu_target.h"
#include "kernels/device/device_info.h"
#include "kernels/device/onednn.h"

namespace firn::kernels {

namespace {

const MultiplyAdds& compiled() {
#ifdef __x86_64__
  if (cpu_target() == CpuTarget::avx512) return avx512::multiply_adds;
  if (cpu_target() == CpuTarget::avx2) return avx2::multiply_adds;
#endif
  return baseline::multiply_adds;
}

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

double fma_rate() {
  double sum = 0;
  const auto round = compiled().round;
#pragma omp parallel reduction(+ : sum)
  sum += best_rate(round(), round);
  return sum;
}

double triad_rate(int threads) {
  constexpr size_t least = size_t{48} << 20, round = size_t{1} << 16, round_bytes = 3 * sizeof(float) * round;
  const size_t bytes = std::max({least / static_cast<size_t>(threads), 4 * device_info({}).l2_bytes, round_bytes});
  const size_t each = bytes / round_bytes * round;
  double sum = 0;
#pragma omp parallel reduction(+ : sum)
  {
    const auto memory = std::make_unique<float[]>(3 * each);  // near the thread that touches it first
    size_t at = 0;
    sum += best_rate(double(round_bytes), [&, a = memory.get()] {
      for (size_t i = at; i < at + round; ++i) a[i] = a[each + i] + 0.5f * a[2 * each + i];
      at = (at + round) % each;
      asm volatile("" : : "r"(a) : "memory");  // as if somebody read them
    });
  }
  return sum;
}

double bf16_rate(int threads) {
  using dnnl::memory;
  if (!has_amx()) return 0;
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
  static std::map<std::pair<int, CpuTarget>, CpuLimits> measured;
  const int threads = omp_get_max_threads();
  const std::pair of(threads, cpu_target());
  if (const auto found = measured.find(of); found != measured.end()) return found->second;
  const CpuLimits limits{.fma = fma_rate(), .product = bf16_rate(threads), .bytes = triad_rate(threads)};
  return measured.emplace(of, limits).first->second;
}

}  // namespace firn::kernels
