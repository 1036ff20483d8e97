// Precision and recall (Kynkaanniemi et al. 2019, arXiv 1904.06991), as NVIDIA's code and torch-fidelity have them, and
// with density and coverage (Naeem et al. 2020, arXiv 2002.09797), as prdc has them.
#include "metrics/measures/measures.h"
#include "metrics/numbers/neighbours.h"

namespace firn {
namespace {

Manifolds compared(const MetricName& n, Material& m, Border border) {
  const Matrix& reals = m.reals(n).features;
  const auto& radii = m.of_reals(n, [&] { return squared_radii(reals, n.nearest); });
  return compare_manifolds(reals, radii, m.fakes(n).features, n.nearest, border);
}

}  // namespace

Metric precision_recall() {
  return {.name = "pr",
          .title = "precision and recall",
          .also = {"precision_recall", "precision", "recall", "f_score", "prc"},
          .values = {{"_precision", Better::higher}, {"_recall", Better::higher}, {"_f1", Better::higher}},
          .network = "vgg16",
          .nearest = 3,
          .measure = [](const MetricName& n, Material& m) {
            const Manifolds of = compared(n, m, Border::inside);
            return std::vector{of.precision, of.recall, of.f1()};
          }};
}

Metric prdc() {
  return {.name = "prdc",
          .title = "precision, recall, density and coverage",
          .also = {"density", "coverage"},
          .values = {{"_precision", Better::higher},
                     {"_recall", Better::higher},
                     {"_density", Better::higher},
                     {"_coverage", Better::higher},
                     {"_f1", Better::higher}},
          .network = "inception",
          .nearest = 5,
          .measure = [](const MetricName& n, Material& m) {
            const Manifolds of = compared(n, m, Border::outside);
            return std::vector{of.precision, of.recall, of.density, of.coverage, of.f1()};
          }};
}

}  // namespace firn
