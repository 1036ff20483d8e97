#include "training/run/sheets.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "training/state/state.h"
#include "training/step/feed.h"

namespace firn {

SheetLayout sheet_layout(const TrainOptions& o, const Device& device) {
  const ImageShape image = o.model.images();
  // A large screen's worth, as peers show; a CPU shows less, for it would take longer than a tick.
  const int most_columns = device.is_cuda() ? 32 : 12, most_rows = device.is_cuda() ? 32 : 8;
  return {.columns = o.grid_columns ? o.grid_columns : std::min(std::clamp(7680 / image.width, 7, 32), most_columns),
          .rows = o.grid_rows ? o.grid_rows : std::min(std::clamp(4320 / image.height, 4, 32), most_rows)};
}

Image fakes_sheet(const Generator& g, const TrainOptions& o, SheetLayout layout) {
  Rng rng{.seed = seed_for(o.seed, SeedUse::grid)};
  const int n = layout.columns * layout.rows;
  const Tensor z = randn({n, g.z_dim()}, rng, g.type(), g.device());
  std::vector<int> classes(static_cast<size_t>(n));
  const std::vector<int> sampled = sampled_classes(g.classes(), o.class_counts);
  for (size_t i = 0; i < classes.size() && !sampled.empty(); ++i)
    classes[i] = sampled[i / size_t(layout.columns) % sampled.size()];
  const Code codes = [&] {
    const NoGrad no_grad;
    return g.code(z, class_labels(classes, g.classes(), g.device()));
  }();
  std::vector<Image> tiles;
  sample(
      g, n, [&](int64_t i) { return slice(codes, i, i + 1); }, {},
      [&](const Tensor& images) { std::ranges::move(to_images(images), std::back_inserter(tiles)); });
  return grid(tiles, layout.columns);
}

Image reals_sheet(const Dataset& dataset, SheetLayout layout) {
  const std::vector<int64_t> order = Dataset::epoch_order(dataset.size(), 0, 0);
  const int classes = dataset.num_classes();
  std::vector<std::vector<int64_t>> queues(size_t(std::max(classes, 1)));
  for (const int64_t i : order) queues[classes ? size_t(dataset.label(i)) : 0].push_back(i);
  std::erase_if(queues, [](const auto& queue) { return queue.empty(); });
  std::vector<size_t> next(queues.size());
  const auto draw = [&](size_t q) {  // the next image of its class that can be read; over again when they run out
    for (size_t tries = 0; tries < queues[q].size(); ++tries) {
      const int64_t item = queues[q][next[q]++ % queues[q].size()];
      try {
        return dataset.load(item);
      } catch (const SystemError&) {
        throw;
      } catch (const IoError&) {
      }
    }
    return Image(dataset.width(), dataset.height(), dataset.channels());
  };
  std::vector<Image> tiles;
  for (int y = 0; y < layout.rows; ++y)
    for (int x = 0; x < layout.columns; ++x) tiles.push_back(draw(size_t(y) % queues.size()));
  return grid(tiles, layout.columns);
}

}  // namespace firn
