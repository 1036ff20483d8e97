// gan-data augment: what D sees of some images.
#include <memory>

#include "base/error.h"
#include "models/sampling.h"
#include "tools/data_commands.h"
#include "tools/numbers.h"
#include "training/augment/augment.h"
#include "training/step/feed.h"

namespace firn::tools {
namespace {

struct AugmentSheet {
  std::string path, destination, aug = "ada", pipe = "bgc", p;
  DatasetOptions data;
  int images = 6, draws = 10;
  uint64_t seed = 0;

  CLI::App* add_to(CLI::App& app) {
    auto* command =
        app.add_subcommand("augment", "Show what D sees of images: each as it is, then draws of gan-train --aug");
    command->add_option("source", path, "Folder or zip")->required();
    command->add_option("destination", destination, "PNG to write")->required();
    command->add_option("--aug", aug, "As of gan-train: ada or fixed, or diffaug-color-translation-cutout")
        ->capture_default_str();
    command->add_option("-p,--p", p, "Probability of each transform, for ada and fixed");
    command->add_option("--augpipe", pipe, "Transforms of ada and fixed, as of gan-train")->capture_default_str();
    command->add_option("--images", images, "Rows")->check(whole(1, 64))->capture_default_str();
    command->add_option("--draws", draws, "Columns, beside the image")->check(whole(1, 64))->capture_default_str();
    command->add_option("--resolution", data.resolution, "Crop to the centre and resize to this width and height")
        ->check(whole(1, 1024));
    command->add_option("--seed", seed, "Of the images and the draws")
        ->check(whole(0, INT64_MAX))
        ->capture_default_str();
    command->footer(
        "Examples:\n"
        "  gan-data augment faces.zip bgc.png -p 0.6\n"
        "  gan-data augment faces.zip turned.png -p 1 --augpipe rotate+scale");
    return command;
  }

  AugmentOptions options() const {
    AugmentOptions o;
    const std::pair<const char*, std::string> given[] = {{"--aug", aug}, {"--augpipe", pipe}, {"-p", p}};
    for_each_option(o, [&](const Option& option, const OptionValue& value) {
      for (const auto& [flag, text] : given)
        if (option.name() == flag && !text.empty()) set_from_text(option, value, {text});
    });
    if (!o.on()) throw ConfigError("--aug noaug: D sees images as they are");
    if (o.by_probability() && p.empty()) throw ConfigError(fmt::format("--aug {} needs -p, a probability", aug));
    if (!o.by_probability() && !p.empty()) throw ConfigError(fmt::format("-p means nothing to --aug {}", aug));
    return o;
  }

  void run() {
    require_png_name("augment", destination);
    require_other_file(destination, path);
    const AugmentOptions chosen = options();
    data.path = path;
    data.resize = data.resolution > 0;
    data.use_labels = false;
    const Dataset set(data);
    const Device cpu = Device::cpu();
    const ImageShape shape{set.height(), set.width(), set.channels()};
    const Augment augment(chosen, shape, Tensor::full({1}, chosen.p, DType::f32, cpu));
    ImageFeed feed({draws, shape.height, shape.width, shape.channels}, DType::f32, cpu);
    Rng rng{.seed = seed};
    std::vector<Image> tiles;
    std::vector<int64_t> order = Dataset::epoch_order(set.size(), seed, 0);
    order.resize(std::min(order.size(), size_t(images)));
    for (const int64_t item : order) {
      tiles.push_back(set.load(item));
      std::vector<uint8_t> row;
      for (int k = 0; k < draws; ++k) row.insert(row.end(), tiles.back().pixels.begin(), tiles.back().pixels.end());
      Inputs in;
      augment.draw(in, "images", draws, rng);
      std::ranges::move(to_images(augment(feed.put(row), in, "images")), std::back_inserter(tiles));
    }
    save_png(destination, grid(tiles, draws + 1, 2));
    say("wrote {}: {} images, each as it is and {} times as {}", destination, tiles.size() / size_t(draws + 1), draws,
        chosen.by_probability() ? fmt::format("{} with p {:g}", chosen.pipe, chosen.p) : chosen.aug);
  }
};

}  // namespace

void add_augment(CLI::App& app) {
  const auto command = std::make_shared<AugmentSheet>();
  command->add_to(app)->final_callback([command] { command->run(); });
}

}  // namespace firn::tools
