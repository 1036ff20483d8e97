// Memorisation-informed FID (Bai et al. 2021, arXiv 2106.03062), as torchmetrics has it: FID divided by the mean, over
// reals, of the cosine distance to the nearest generated image, where that is below 0.1.
#include <algorithm>
#include <cmath>

#include "metrics/measures/measures.h"
#include "metrics/numbers/frechet.h"

namespace firn {
namespace {

Matrix directions_of(const Matrix& a) {  // rows of length 1, without those of zeros
  Matrix m;
  m.columns = a.columns;
  for (int64_t i = 0; i < a.rows; ++i) {
    double square = 0;
    for (int64_t j = 0; j < a.columns; ++j) square += a(i, j) * a(i, j);
    if (square == 0) continue;
    for (int64_t j = 0; j < a.columns; ++j) m.values.push_back(a(i, j) / std::sqrt(square));
    ++m.rows;
  }
  return m;
}

double cosine_distance(const Matrix& a, const Matrix& b) {
  const Matrix x = directions_of(a), y = directions_of(b);
  if (x.rows == 0 || y.rows == 0) return 1;
  constexpr int64_t at_once = 1024;  // of many images a table of all pairs does not fit
  double sum = 0;
  for (int64_t begin = 0; begin < x.rows; begin += at_once) {
    const Matrix dots = product_of_rows(x.slice(begin, std::min(begin + at_once, x.rows)), y);
    for (int64_t i = 0; i < dots.rows; ++i) {
      double most = 0;
      for (int64_t j = 0; j < dots.columns; ++j) most = std::max(most, std::abs(dots(i, j)));
      sum += 1 - std::min(most, 1.0);
    }
  }
  return sum / double(x.rows);
}

}  // namespace

Metric mifid() {
  return {.name = "mifid",
          .title = "memorisation-informed Frechet inception distance",
          .also = {"memorization_informed_frechet_inception_distance", "MemorizationInformedFrechetInceptionDistance"},
          .values = {{"", Better::lower}},
          .network = "inception",
          .measure = [](const MetricName& n, Material& m) {
            const Matrix &reals = m.reals(n).features, &fakes = m.fakes(n).features;
            const double distance = frechet_distance(reals, fakes), near = cosine_distance(reals, fakes);
            return std::vector{distance > 1e-8 ? distance / ((near < 0.1 ? near : 1) + 1e-14) : 0};
          }};
}

}  // namespace firn
