// Sliced Wasserstein distance of patches, at each scale (Karras et al. 2018, arXiv 1710.10196, section 5): the mean
// over the levels of the pyramid, times 1000. It needs no weights.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "metrics/images/patches.h"
#include "metrics/measures/measures.h"
#include "metrics/numbers/sliced.h"

namespace firn {

Metric swd() {
  return {.name = "swd",
          .title = "sliced Wasserstein distance of patches",
          .also = {"sliced_wasserstein_distance"},
          .values = {{"", Better::lower}},
          .fakes = 16384,
          .measure = [](const MetricName& n, Material& m) {
            const int64_t patches = std::min<int64_t>(32768, 128 * n.fakes);
            const auto& real_images = m.real_images(n);
            const Patches& a = m.of_reals(n, [&] { return pyramid_patches(real_images, m.real_count(n), patches, 1); });
            const Patches b = pyramid_patches(m.fake_images(), n.fakes, patches, 2);
            if (a.sizes != b.sizes)
              throw ConfigError(fmt::format("{} and {} have images of other sizes: their scales cannot be compared",
                                            real_images.name(), m.fake_images().name()));
            double sum = 0;
            for (size_t l = 0; l < a.levels.size(); ++l)
              sum += sliced_distance(a.levels[l], b.levels[l], {.directions = 512}).mean;
            return std::vector{1000 * sum / double(a.levels.size())};
          }};
}

}  // namespace firn
