// Inception score (Salimans et al. 2016, arXiv 1606.03498): exp of the mean divergence of an image's classes from the
// mean over its split, in the order of generation; mean and deviation over ten splits.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "metrics/measures/measures.h"

namespace firn {
namespace {

double score_of(const Matrix& logits, int64_t begin, int64_t end) {
  const int64_t classes = logits.columns;
  std::vector<double> p(size_t((end - begin) * classes)), mean(static_cast<size_t>(classes));
  for (int64_t i = begin; i < end; ++i) {
    const double* x = logits.row(i);
    double* y = p.data() + (i - begin) * classes;
    const double most = *std::max_element(x, x + classes);
    double sum = 0;
    for (int64_t c = 0; c < classes; ++c) sum += y[c] = std::exp(x[c] - most);
    for (int64_t c = 0; c < classes; ++c) mean[size_t(c)] += (y[c] /= sum) / double(end - begin);
  }
  double divergence = 0;
  for (size_t i = 0; i < p.size(); ++i)
    if (p[i] > 0) divergence += p[i] * (std::log(p[i]) - std::log(mean[i % size_t(classes)]));
  return std::exp(divergence / double(end - begin));
}

}  // namespace

Metric inception_score() {
  return {.name = "is",
          .title = "inception score",
          .also = {"inception_score", "InceptionScore", "isc"},
          .values = {{"_mean", Better::higher}, {"_std", Better::neither}},
          .network = "inception",
          .needs_reals = false,
          .measure = [](const MetricName& n, Material& m) {
            const Matrix& logits = m.fakes(n).logits;
            if (logits.columns == 0) throw ConfigError("an inception score needs a network with a classifier");
            const int64_t splits = std::min<int64_t>(10, logits.rows);
            double mean = 0, square = 0;
            for (int64_t s = 0; s < splits; ++s) {
              const double v = score_of(logits, s * logits.rows / splits, (s + 1) * logits.rows / splits);
              mean += v / double(splits);
              square += v * v / double(splits);
            }
            return std::vector{mean, std::sqrt(std::max(0.0, square - mean * mean))};
          }};
}

}  // namespace firn
