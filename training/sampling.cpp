#include "training/sampling.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "training/feed.h"
#include "training/state.h"

namespace firn {

Tensor styles(const StyleGan2Generator& g, const Tensor& z, const Tensor& labels, Truncation truncation) {
  const NoGrad no_grad;
  return g.broadcast(g.map(z, labels), truncation);
}

void synthesize(const StyleGan2Generator& g, int64_t count, const std::function<Tensor(int64_t)>& ws,
                const SampleOptions& options, const std::function<void(const Tensor&)>& use) {
  const NoGrad no_grad;
  const bool random = options.noise == NoiseMode::random;
  const int64_t batch = random ? 1 : options.batch;
  for (int64_t begin = 0; begin < count; begin += batch) {
    std::vector<Tensor> rows;
    for (int64_t i = begin; i < std::min(begin + batch, count); ++i) rows.push_back(ws(i));
    Rng rng = random ? options.rng(begin) : Rng{};
    use(g.synthesize(concat(rows, 0), options.noise, &rng));
  }
}

std::vector<Image> to_images(const Tensor& nhwc) {
  const std::vector<float> values = nhwc.to_floats();
  const int h = int(nhwc.dim(1)), w = int(nhwc.dim(2)), c = int(nhwc.dim(3));
  const size_t size = size_t(h) * size_t(w) * size_t(c);
  std::vector<Image> images;
  for (size_t begin = 0; begin < values.size(); begin += size)
    images.push_back(image_from_floats(std::span(values).subspan(begin, size), h, w, c));
  return images;
}

std::vector<int> sampled_classes(const TrainOptions& o) {
  std::vector<int> classes;
  const bool known =
      std::ssize(o.class_counts) == o.model.c_dim && std::ranges::any_of(o.class_counts, std::identity{});
  for (int c = 0; c < o.model.c_dim; ++c)
    if (!known || o.class_counts[size_t(c)] > 0) classes.push_back(c);
  return classes;
}

SheetLayout sheet_layout(const TrainOptions& o, const Device& device) {
  const int width = o.model.width ? o.model.width : o.model.height;
  // A large screen's worth, as peers show; a CPU shows less, for it would take longer than a tick.
  const int most_columns = device.is_cuda() ? 32 : 12, most_rows = device.is_cuda() ? 32 : 8;
  return {.columns = o.grid_columns ? o.grid_columns : std::min(std::clamp(7680 / width, 7, 32), most_columns),
          .rows = o.grid_rows ? o.grid_rows : std::min(std::clamp(4320 / o.model.height, 4, 32), most_rows)};
}

Image fakes_sheet(const StyleGan2Generator& g, const TrainOptions& o, SheetLayout layout) {
  Rng rng{.seed = seed_for(o.seed, SeedUse::grid)};
  const int n = layout.columns * layout.rows;
  const Tensor z = randn({n, o.model.z_dim}, rng, o.model.type, g.device());
  std::vector<int> classes(static_cast<size_t>(n));
  const std::vector<int> sampled = sampled_classes(o);
  for (size_t i = 0; i < classes.size() && !sampled.empty(); ++i)
    classes[i] = sampled[i / size_t(layout.columns) % sampled.size()];
  const Tensor ws = styles(g, z, one_hot(classes, o.model.c_dim, o.model.type, g.device()), {});
  std::vector<Image> tiles;
  synthesize(
      g, n, [&](int64_t i) { return slice(ws, 0, i, i + 1); }, {},
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
