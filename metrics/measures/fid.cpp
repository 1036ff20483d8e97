// Frechet inception distance (Heusel et al. 2017, arXiv 1706.08500), of all images and of each class.
#include "metrics/numbers/frechet.h"

#include <fmt/format.h>

#include "base/error.h"
#include "metrics/measures/measures.h"

namespace firn {
namespace {

Matrix rows_of_class(const FeatureTable& table, int klass) {
  Matrix m;
  m.columns = table.features.columns;
  for (size_t i = 0; i < table.labels.size(); ++i)
    if (table.labels[i] == klass) {
      m.values.insert(m.values.end(), table.features.row(int64_t(i)), table.features.row(int64_t(i) + 1));
      ++m.rows;
    }
  return m;
}

}  // namespace

Metric fid() {
  return {.name = "fid",
          .title = "Frechet inception distance",
          .also = {"frechet_inception_distance", "FrechetInceptionDistance"},
          .values = {{"", Better::lower}},
          .network = "inception",
          .measure = [](const MetricName& n, Material& m) {
            const Gaussian& reals = m.of_reals(n, [&] { return fitted(m.reals(n).features); });
            return std::vector{frechet_distance(reals, m.fakes(n).features)};
          }};
}

// The mean over the classes that both sides have two images of or more (intra-FID, Miyato & Koyama 2018, arXiv
// 1802.05637).
Metric class_fid() {
  return {.name = "classfid",
          .title = "mean of the classes' Frechet inception distances",
          .also = {"ifid", "intra_fid"},
          .values = {{"", Better::lower}},
          .network = "inception",
          .measure = [](const MetricName& n, Material& m) {
            const FeatureTable &reals = m.reals(n), &fakes = m.fakes(n);
            const int classes = m.real_images(n).classes();
            if (classes == 0 || m.fake_images().classes() == 0)
              throw ConfigError("a distance of each class needs labels on both sides");
            double sum = 0;
            int counted = 0;
            for (int c = 0; c < classes; ++c) {
              const Matrix a = rows_of_class(reals, c), b = rows_of_class(fakes, c);
              if (a.rows < 2 || b.rows < 2) continue;
              sum += frechet_distance(a, b);
              ++counted;
            }
            if (counted == 0) throw Error("no class has two images on both sides");
            return std::vector{sum / counted};
          }};
}

}  // namespace firn
