// cuBLASLt thinks in columns: row-major y = a b is, read that way, y' = b' a'. So b goes first, and nothing is moved.
#include "kernels/gemm/gemm_cublaslt.h"

#include <array>
#include <cstring>
#include <vector>

#include "kernels/choice/provider_cuda.h"
#include "kernels/choice/provider_numerics.h"
#include "kernels/core/cuda_check.h"
#include "kernels/gemm/gemm_cublaslt_problem.h"

namespace firn::kernels::cublaslt {

namespace {

constexpr int kMostProposals = 8;

cublasLtHandle_t handle(const Stream& stream) {
  static std::map<int, cublasLtHandle_t> handles;  // never destroyed: the driver may be gone before static objects
  current(stream);
  cublasLtHandle_t& h = handles[stream.device];
  if (!h) check(cublasLtCreate(&h));
  return h;
}

struct Known {
  Problem problem;
  std::optional<cublasLtMatmulHeuristicResult_t> plan;
  bool settled = false;
  Known(const GemmProblem& p, bool tf32, uint32_t alignment) : problem(p, tf32, alignment) {}
};

// The algorithm's own words, so that a choice read from a file is exactly one of today's proposals.
std::string name_of_algorithm(const cublasLtMatmulAlgo_t& algorithm) {
  std::string name;
  for (const uint64_t word : algorithm.data) name += fmt::format("{:x}.", word);
  return name;
}

std::string describe(const GemmProblem& p, bool tf32, uint32_t alignment) {
  return fmt::format("gemm {} -> {} batch {} {}x{}x{}{}{}{}{}{}{}", name_of(p.type), name_of(p.y_type), p.batch, p.M,
                     p.N, p.K, p.trans_a ? " trans_a" : "", p.trans_b ? " trans_b" : "", p.share_a ? " share_a" : "",
                     p.share_b ? " share_b" : "", p.type == DType::f32 && tf32 ? " tf32" : "",
                     alignment < kMostAlignment ? fmt::format(" aligned to {}", alignment) : "");
}

void execute(const Stream& stream, const Problem& problem, const cublasLtMatmulHeuristicResult_t& plan, double alpha,
             void* y, const void* a, const void* b) {
  const Scratch workspace(stream, plan.workspaceSize);
  const auto scale = static_cast<float>(alpha);
  const float beta = 0;
  check(cublasLtMatmul(handle(stream), problem.product(), &scale, b, problem.b(), a, problem.a(), &beta, y, problem.y(),
                       y, problem.y(), &plan.algo, workspace.data(), plan.workspaceSize, current(stream)));
}

std::vector<cublasLtMatmulHeuristicResult_t> proposals(const Stream& stream, const Problem& problem) {
  std::vector<cublasLtMatmulHeuristicResult_t> found(kMostProposals);
  int count = 0;
  const auto status =
      cublasLtMatmulAlgoGetHeuristic(handle(stream), problem.product(), problem.b(), problem.a(), problem.y(),
                                     problem.y(), problem.preference(), kMostProposals, found.data(), &count);
  if (status != CUBLAS_STATUS_NOT_SUPPORTED) check(status);
  found.resize(static_cast<size_t>(count));
  return found;
}

}  // namespace

bool gemm(const Stream& stream, const GemmProblem& p, void* y, const void* a, const void* b) {
  if (stream.dry) return true;  // without a GPU it proposes nothing
  static std::map<std::pair<int, std::string>, Known> all;
  const auto alignment = static_cast<uint32_t>(common_alignment(kMostAlignment, std::array<const void*, 3>{y, a, b}));
  const bool tf32 = numerics(stream).tf32;
  const std::string operation = describe(p, tf32, alignment);
  const auto [place, fresh] = all.try_emplace({stream.device, operation}, p, tf32, alignment);
  Known& known = place->second;
  if (!known.settled && (fresh || !is_capturing(stream))) {
    const auto found = proposals(stream, known.problem);
    std::vector<Candidate> candidates;
    for (const auto& f : found)
      candidates.push_back({name_of_algorithm(f.algo), [&f] { return f.state == CUBLAS_STATUS_SUCCESS; },
                            [&] { execute(stream, known.problem, f, p.alpha, y, a, b); }});
    const std::string key = fmt::format("{} | {} | cublasLt {}", operation, device_name(stream), cublasLtGetVersion());
    const Timer stopwatch = timer(stream);
    const auto chosen = choose(choice_cache(), key, candidates, stopwatch);
    known.settled = stopwatch && (!chosen || chosen->settled);
    if (chosen) known.plan = found[chosen->index];
  }
  if (!known.plan) return false;
  execute(stream, known.problem, *known.plan, p.alpha, y, a, b);
  return true;
}

}  // namespace firn::kernels::cublaslt
