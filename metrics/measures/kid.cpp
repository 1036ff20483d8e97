// Kernel inception distance (Binkowski et al. 2018, arXiv 1801.01401).
#include "metrics/measures/measures.h"
#include "metrics/numbers/kernel_distance.h"

namespace firn {

Metric kid() {
  return {.name = "kid",
          .title = "kernel inception distance",
          .also = {"kernel_inception_distance", "KernelInceptionDistance"},
          .values = {{"", Better::lower}, {"_std", Better::neither}},
          .network = "inception",
          .measure = [](const MetricName& n, Material& m) {
            const MeanAndDeviation d = kernel_distance(m.reals(n).features, m.fakes(n).features);
            return std::vector{d.mean, d.deviation};
          }};
}

}  // namespace firn
