// gan-data convert: a folder or zip as a zip of equally sized PNGs.
#include <memory>

#include "base/error.h"
#include "io/files.h"
#include "io/zip_writer.h"
#include "tools/data_commands.h"
#include "tools/numbers.h"
#include "tools/progress.h"

namespace firn::tools {
namespace {

struct Convert {
  DatasetOptions options;
  std::string path, destination, background = "white";
  int64_t max_images = 0;
  bool no_labels = false;
  FolderOptions folders;

  CLI::App* add_to(CLI::App& app) {
    auto* command = app.add_subcommand("convert", "Write a folder or zip as a zip of equally sized PNGs");
    command->add_option("source", path, "Folder or zip")->required();
    command->add_option("destination", destination, "Zip to write")->required();
    const CLI::Validator sides = whole(1, 16384);
    command->add_option("--resolution", options.resolution, "Width and height")->check(sides);
    command->add_option("--width", options.width, "Width; without --height the aspect stays")->check(sides);
    command->add_option("--height", options.height, "Height; without --width the aspect stays")->check(sides);
    command
        ->add_option("--channels", options.channels,
                     "1 grey, 3 RGB, 4 RGBA; default: 4 if anything is transparent, else 3 if anything has colour")
        ->check(CLI::IsMember({1, 3, 4}));
    command->add_flag("--resize", options.resize, "Crop to the centre and resize; without it a wrong size is an error");
    command->add_flag("--pad", options.pad,
                      "Crop nothing: pad with --background to a size that gan-train takes (after --resize fitted it)");
    command->add_option("--background", background, "Behind transparent images, and for --pad: white, black or #rrggbb")
        ->capture_default_str();
    command->add_flag("--rescale", options.rescale,
                      "Stretch 16-bit samples: the next power of two above the greatest one of the set becomes white");
    command->add_option("--subset", options.subset, "Draw this many images at random")->check(whole(1, 1000000000));
    command->add_option("--seed", options.seed, "Seed of --subset")->capture_default_str()->check(whole(0, INT64_MAX));
    command->add_option("--classes", options.classes, "Keep these classes, renumbered in this order")->delimiter(',');
    command->add_flag("--no-labels", no_labels, "Write no labels");
    folders.add_to(*command);
    command->add_option("--max-images", max_images, "Stop after this many")->check(whole(1, 1000000000));
    command->footer(
        "Examples:\n"
        "  gan-data convert photos/ photos-256.zip --resolution 256 --resize\n"
        "  gan-data convert cifar10.zip cats-and-dogs.zip --classes 3,5 --subset 1000 --seed 1");
    return command;
  }

  void run() {
    require_other_file(destination, path);
    options.path = path;
    options.background = parse_background(background);
    options.folder = folders.folder;
    options.folder_classes = folders.classes;
    options.all_labels = false;
    options.use_labels = !no_labels;
    const Dataset set(options);
    for (const std::string& note : set.notes()) say("{}", note);
    const Size size = options.pad ? trainable_around({set.width(), set.height()}) : Size{set.width(), set.height()};
    say_untrainable(size, "--pad");

    ZipWriter zip(destination);
    std::vector<int64_t> counts(size_t(set.num_classes()));
    const int64_t most = max_images > 0 ? std::min(max_images, set.size()) : set.size();
    int64_t written = 0, unlabelled = 0;
    Progress progress(most);
    for (int64_t i = 0; i < set.size() && written < most; ++i) {
      Image image;
      if (content_problem(set.name(i), [&] { image = set.load(i); })) continue;  // listed by say_broken
      const std::string label = set.label_json(i);
      zip.add(padded(image, size.width, size.height, options.background), label);
      if (set.label(i) >= 0) ++counts[size_t(set.label(i))];
      unlabelled += label.empty();
      ++written;
      progress.step();
    }
    progress.clear();
    say_broken(set.bad_images());
    if (written == 0) throw IoError(fmt::format("{}: no image could be read", path));
    zip.finish(set.class_names());
    if (!counts.empty()) say_classes(set.class_names(), counts);
    if (unlabelled < written && unlabelled > 0)
      say("labels: {} of {} images have none, and --cond needs all; --no-labels drops them", unlabelled, written);
    say("wrote {}: {} images of {}x{}x{}, {} classes", destination, written, size.width, size.height, set.channels(),
        set.num_classes());
  }
};

}  // namespace

void add_convert(CLI::App& app) {
  const auto command = std::make_shared<Convert>();
  command->add_to(app)->final_callback([command] { command->run(); });
}

}  // namespace firn::tools
