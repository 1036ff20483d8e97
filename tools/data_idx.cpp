// gan-data idx: MNIST and its relatives as a zip.
#include <map>
#include <memory>

#include "base/error.h"
#include "io/idx.h"
#include "io/zip_writer.h"
#include "tools/data_commands.h"
#include "tools/numbers.h"

namespace firn::tools {
namespace {

struct Idx {
  std::string images_path, labels_path, destination;
  std::vector<int> classes;
  int pad_to = 0;

  CLI::App* add_to(CLI::App& app) {
    auto* command = app.add_subcommand("idx", "Write idx files (MNIST, Fashion-MNIST; gzipped or not) as a zip");
    command->add_option("images", images_path, "Images, [n, height, width]")->required();
    command->add_option("labels", labels_path, "Labels, [n]")->required();
    command->add_option("destination", destination, "Zip to write")->required();
    command->add_option("--pad-to", pad_to, "Centre on a black square of this size")->check(whole(1, 16384));
    command->add_option("--classes", classes, "Keep these classes, renumbered in this order")->delimiter(',');
    command->footer(
        "Example:\n  gan-data idx train-images-idx3-ubyte.gz train-labels-idx1-ubyte.gz fashion-32.zip --pad-to 32");
    return command;
  }

  void run() const {
    for (const std::string& source : {images_path, labels_path}) require_other_file(destination, source);
    const IdxArray images = read_idx(images_path), labels = read_idx(labels_path);
    if (images.shape.size() != 3 || labels.shape.size() != 1 || images.shape[0] != labels.shape[0])
      throw IoError(fmt::format("{} and {} are not n images and n labels", images_path, labels_path));
    std::map<int, int> renumbered;  // empty: all classes as they are
    std::vector<std::string> names;
    for (int c : classes) {
      if (!renumbered.emplace(c, int(names.size())).second)
        throw ConfigError(fmt::format("class {} is chosen twice", c));
      names.push_back(fmt::format("class {}", c));
    }
    ZipWriter zip(destination);
    int64_t written = 0;
    for (int64_t i = 0; i < labels.shape[0]; ++i) {
      const int label = labels.values[size_t(i)];
      if (!renumbered.empty() && !renumbered.contains(label)) continue;
      zip.add(idx_image(images, i, pad_to), renumbered.empty() ? label : renumbered.at(label));
      ++written;
    }
    if (written == 0) throw IoError(fmt::format("{}: no image of the chosen classes", images_path));
    zip.finish(names);
    say("wrote {}: {} images", destination, written);
    const int height = int(images.shape[1]), width = int(images.shape[2]);
    say_untrainable(pad_to ? Size{pad_to, pad_to} : Size{width, height}, "--pad-to");
  }
};

}  // namespace

void add_idx(CLI::App& app) {
  const auto command = std::make_shared<Idx>();
  command->add_to(app)->final_callback([command] { command->run(); });
}

}  // namespace firn::tools
