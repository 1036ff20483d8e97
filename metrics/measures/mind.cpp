// Monge inception distance (Berthet et al. 2026, arXiv 2605.06797): three times the dimension times the squared sliced
// Wasserstein distance of the features, over 10,000 directions as torch-fidelity takes.
#include "metrics/measures/measures.h"
#include "metrics/numbers/sliced.h"

namespace firn {

Metric mind() {
  return {.name = "mind",
          .title = "Monge inception distance",
          .also = {"monge_inception_distance", "MongeInceptionDistance"},
          .values = {{"", Better::lower}},
          .network = "inception",
          .fakes = 5000,
          .measure = [](const MetricName& n, Material& m) {
            const Matrix& reals = m.reals(n).features;
            const SlicedDistance d = sliced_distance(m.fakes(n).features, reals, {.directions = 10000});
            return std::vector{3 * double(reals.columns) * d.mean_square};
          }};
}

}  // namespace firn
