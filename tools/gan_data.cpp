// gan-data: looks into image sets and turns folders, zips and idx files into the zip layout that Firn trains from.
#include <cstdio>
#include <cstring>
#include <map>

#include "io/dataset_index.h"
#include "io/files.h"
#include "io/idx.h"
#include "io/zip_writer.h"
#include "kernels/error.h"
#include "tools/common.h"

namespace fs = std::filesystem;
using namespace firn;

namespace {

template <class... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  const std::string line = fmt::format(format, std::forward<Args>(args)...) + '\n';
  std::fwrite(line.data(), 1, line.size(), stdout);  // a failure is sticky and reported at the end
}

void report_bad(const std::vector<BadImage>& bad) {
  if (!bad.empty()) say("broken: {} files, skipped", bad.size());
  for (const auto& [name, reason] : bad) say("  {}: {}", printable(name), printable(reason));
}

template <class Key>
std::string counted(const std::map<Key, int64_t>& counts) {
  std::string text;
  for (const auto& [key, count] : counts) text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", key, count);
  return text;
}

// Up to `columns` images of every class, a titled row each.
Image contact_sheet(const ImageSource& source, const DatasetIndex& index, int columns, int side) {
  std::map<int, std::vector<Image>> rows;
  const bool labelled = !index.class_names.empty();
  const size_t most = size_t(labelled ? columns : columns * 8);
  for (const auto& item : index.items) {
    auto& row = rows[item.label];
    if (row.size() >= most) continue;
    try {
      row.push_back(to_channels(center_crop_resize(decode_image(source.read(item.entry), item.name), side, side), 3));
    } catch (const IoError& e) {
      say("broken: {}", e.what());
    }
  }
  std::vector<Image> strips;
  for (const auto& [label, row] : rows)
    if (!row.empty())
      strips.push_back(
          with_title(grid(row, columns, 2), labelled ? index.class_names[size_t(label)] : source.where(), 1));
  if (strips.empty()) throw IoError(fmt::format("{}: no image for the contact sheet", source.where()));
  return stack_vertical(strips);
}

struct Inspect {
  std::string path, sheet;
  int columns = 16, side = 64;

  void add_to(CLI::App& app) {
    auto* command = app.add_subcommand("inspect", "Count images, sizes and classes, and list what is broken");
    command->add_option("path", path, "Folder or zip")->required();
    command->add_option("--sheet", sheet, "Write a contact sheet, a row a class, to this PNG");
    command->add_option("--columns", columns, "Images in a row of the sheet")
        ->check(CLI::Range(1, 256))
        ->capture_default_str();
    command->add_option("--side", side, "Size of an image in the sheet")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str();
    command->footer("Example:\n  gan-data inspect flowers.zip --sheet flowers.png");
    command->final_callback([this] { run(); });
  }

  void run() const {
    if (!sheet.empty()) tools::require_png_name("--sheet", sheet);
    const auto source = open_source(path);
    DatasetIndex index = index_dataset(*source, ReadLabels::yes);
    std::erase_if(index.items, [&](const auto& item) { return !decodes(*source, item, index.bad); });
    std::map<std::string, int64_t> sizes;
    std::map<int, int64_t> channels, labels;
    for (const auto& item : index.items) {
      ++sizes[fmt::format("{}x{}", item.info.width, item.info.height)];
      ++channels[item.info.channels];
      ++labels[item.label];
    }
    say("{}: {} images", path, index.items.size());
    say("sizes: {}", counted(sizes));
    say("channels: {}", counted(channels));
    if (index.class_names.empty())
      say("classes: none");
    else
      say("classes: {}", index.class_names.size());
    for (size_t c = 0; c < index.class_names.size(); ++c)
      say("  {:4}  {}: {} images", c, printable(index.class_names[c]), labels[int(c)]);
    report_bad(index.bad);
    if (sheet.empty()) return;
    save_png(sheet, contact_sheet(*source, index, columns, side));
    say("wrote {}", sheet);
  }
};

struct Convert {
  DatasetOptions options;
  std::string path, destination;
  int64_t max_images = 0;

  void add_to(CLI::App& app) {
    auto* command = app.add_subcommand("convert", "Write a folder or zip as a zip of equally sized PNGs");
    command->add_option("source", path, "Folder or zip")->required();
    command->add_option("destination", destination, "Zip to write")->required();
    command->add_option("--resolution", options.resolution, "Width and height")->check(CLI::Range(1, 16384));
    command->add_option("--width", options.width, "Width, when not square")->check(CLI::Range(1, 16384));
    command->add_option("--height", options.height, "Height, when not square")->check(CLI::Range(1, 16384));
    command->add_option("--channels", options.channels, "1 grey, 3 RGB, 4 RGBA; default: those of the first image")
        ->check(CLI::IsMember({1, 3, 4}));
    command->add_flag("--resize", options.resize, "Crop to the centre and resize; without it a wrong size is an error");
    command->add_option("--subset", options.subset, "Draw this many images at random")->check(CLI::PositiveNumber);
    command->add_option("--seed", options.seed, "Seed of --subset")->capture_default_str();
    command->add_option("--classes", options.classes, "Keep these classes, renumbered in this order")->delimiter(',');
    command->add_option("--max-images", max_images, "Stop after this many")->check(CLI::PositiveNumber);
    command->footer(
        "Examples:\n"
        "  gan-data convert photos/ photos-256.zip --resolution 256 --resize\n"
        "  gan-data convert cifar10.zip cats-and-dogs.zip --classes 3,5 --subset 1000 --seed 1");
    command->final_callback([this] { run(); });
  }

  void run() {
    options.path = path;
    const Dataset set(options);
    ZipWriter zip(destination);
    int64_t written = 0;
    for (int64_t i = 0; i < set.size() && (max_images == 0 || written < max_images); ++i) {
      Image image;
      try {
        image = set.load(i);
      } catch (const IoError&) {
        continue;  // listed by report_bad
      }
      zip.add(image, set.label(i));
      ++written;
    }
    report_bad(set.bad_images());
    if (written == 0) throw IoError(fmt::format("{}: no image could be read", path));
    zip.finish(set.class_names());
    say("wrote {}: {} images of {}x{}x{}, {} classes", destination, written, set.width(), set.height(), set.channels(),
        set.num_classes());
  }
};

struct Idx {
  std::string images_path, labels_path, destination;
  std::vector<int> classes;
  int pad_to = 0;

  void add_to(CLI::App& app) {
    auto* command = app.add_subcommand("idx", "Write idx files (MNIST, Fashion-MNIST; gzipped or not) as a zip");
    command->add_option("images", images_path, "Images, [n, height, width]")->required();
    command->add_option("labels", labels_path, "Labels, [n]")->required();
    command->add_option("destination", destination, "Zip to write")->required();
    command->add_option("--pad-to", pad_to, "Centre on a black square of this size")->check(CLI::Range(1, 16384));
    command->add_option("--classes", classes, "Keep these classes, renumbered in this order")->delimiter(',');
    command->footer(
        "Example:\n  gan-data idx train-images-idx3-ubyte.gz train-labels-idx1-ubyte.gz fashion-32.zip --pad-to 32");
    command->final_callback([this] { run(); });
  }

  void run() const {
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
  }
};

struct Montage {
  std::string destination;
  std::vector<std::string> panels;
  int columns = 2, scale = 1;

  void add_to(CLI::App& app) {
    auto* command = app.add_subcommand("montage", "Put titled pictures side by side");
    command->add_option("destination", destination, "PNG to write")->required();
    command->add_option("panels", panels, "TITLE=FILE, ...")->required();
    command->add_option("--columns", columns, "Pictures in a row")->check(CLI::Range(1, 64))->capture_default_str();
    command->add_option("--scale", scale, "Enlarge by this factor")->check(CLI::Range(1, 16))->capture_default_str();
    command->footer("Example:\n  gan-data montage both.png 'before=a.png' 'after=b.png'");
    command->final_callback([this] { run(); });
  }

  void run() const {
    tools::require_png_name("montage", destination);
    std::vector<Image> titled;
    for (const std::string& panel : panels) {
      const size_t equals = panel.find('=');
      if (equals == std::string::npos) throw ConfigError(fmt::format("panel '{}': expected TITLE=FILE", panel));
      titled.push_back(with_title(upscale(load_image(panel.substr(equals + 1)), scale), panel.substr(0, equals), 2));
    }
    save_png(destination, grid(titled, columns, 12));
    say("wrote {}", destination);
  }
};

int run_command(int argc, char** argv) {
  CLI::App app("Looks into image sets and converts them for training. See `gan-data COMMAND --help` for examples.",
               "gan-data");
  app.require_subcommand(1);
  Inspect inspect;
  Convert convert;
  Idx idx;
  Montage montage;
  inspect.add_to(app);
  convert.add_to(app);
  idx.add_to(app);
  montage.add_to(app);
  bool proceed;
  const int code = tools::parse(app, argc, argv, proceed);
  if (code != 0) return code;
  tools::flush_output();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return tools::guarded("gan-data", [&] { return run_command(argc, argv); });
}
