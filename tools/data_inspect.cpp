// gan-data inspect: counts images, sizes and classes, and lists what is broken or passed over.
#include <fmt/format.h>

#include <map>
#include <memory>

#include "base/error.h"
#include "base/text.h"
#include "io/parallel.h"
#include "tools/data_commands.h"
#include "tools/numbers.h"
#include "tools/progress.h"

namespace fs = std::filesystem;
namespace firn::tools {
namespace {

// What decoding an item showed.
struct Decoded {
  std::string problem;
  bool transparent = false;
  int greatest = 0;  // sample of 16 bits
};

struct Inspect {
  std::string path, sheet, background = "white";
  int columns = 16, side = 64;
  FolderOptions folders;

  CLI::App* add_to(CLI::App& app) {
    auto* command = app.add_subcommand("inspect", "Count images, sizes and classes, and list what is broken");
    command->add_option("path", path, "Folder or zip")->required();
    command->add_option("--sheet", sheet, "Write a contact sheet, a row a class, to this PNG");
    command->add_option("--columns", columns, "Images in a row of the sheet")
        ->check(whole(1, 256))
        ->capture_default_str();
    command->add_option("--side", side, "Size of an image in the sheet")->check(whole(1, 1024))->capture_default_str();
    command->add_option("--background", background, "Behind transparent images of the sheet: white, black or #rrggbb")
        ->capture_default_str();
    folders.add_to(*command);
    command->footer("Example:\n  gan-data inspect flowers.zip --sheet flowers.png");
    return command;
  }

  // Up to `columns` images of every class, a titled row each.
  Image contact_sheet(const ImageSource& source, const DatasetIndex& index) const {
    const Background behind = parse_background(background);
    std::map<int, std::vector<Image>> rows;
    const bool labelled = !index.class_names.empty();
    const size_t most = size_t(labelled ? columns : columns * 8);
    for (const auto& item : index.items) {
      auto& row = rows[item.label];
      if (row.size() >= most) continue;
      const auto problem = content_problem(item.name, [&] {
        const Turn turn = turn_for(item.info);
        const Image image = decode_image(source.read(item.entry), item.name);
        row.push_back(to_channels(center_crop_resize(image, side, side), 3, behind));
      });
      if (problem) say("broken: {}: {}", printable(item.name), printable(*problem));
    }
    std::vector<Image> strips;
    for (const auto& [label, row] : rows)
      if (!row.empty())
        strips.push_back(with_title(grid(row, columns, 2),
                                    !labelled    ? source.where()
                                    : label >= 0 ? index.class_names[size_t(label)]
                                                 : "without a class",
                                    1));
    if (strips.empty()) throw IoError(fmt::format("{}: no image for the contact sheet", source.where()));
    return stack_vertical(strips);
  }

  void refuse_sheet_inside() const {
    std::error_code error;
    if (sheet.empty() || !fs::is_directory(path, error)) return;
    const auto inside = fs::weakly_canonical(fs::absolute(sheet), error), root = fs::canonical(path, error);
    if (std::mismatch(root.begin(), root.end(), inside.begin(), inside.end()).first == root.end())
      throw ConfigError(fmt::format("--sheet {} would become an image of the set; write it elsewhere", sheet));
  }

  std::vector<Decoded> decode_all(const ImageSource& source, const DatasetIndex& index) const {
    std::vector<Decoded> decoded(index.items.size());
    Progress progress(std::ssize(decoded));
    for_each_in_parallel(decoded.size(), 8, [&](size_t i) {
      const auto& item = index.items[i];
      Decoded& d = decoded[i];
      const auto problem = content_problem(item.name, [&] {
        const Turn turn = turn_for(item.info);
        const auto bytes = source.read(item.entry);
        d.transparent = !opaque(decode_image(bytes, item.name));
        if (item.info.depth == 16) d.greatest = sample_peak(bytes, item.name);
      });
      d.problem = problem.value_or("");
      progress.step();
    });
    return decoded;
  }

  void run() const {
    if (!sheet.empty()) require_png_name("--sheet", sheet);
    refuse_sheet_inside();
    const auto source = open_source(path);
    DatasetIndex index =
        index_dataset(*source, {.folder = folders.folder, .rules = {.always_classes = folders.classes}});
    const std::vector<Decoded> decoded = decode_all(*source, index);
    std::vector<DatasetIndex::Item> items;
    int64_t transparent = 0, deep = 0, alpha = 0;
    int greatest = 0;
    for (size_t i = 0; i < decoded.size(); ++i) {
      const Decoded& d = decoded[i];
      auto& item = index.items[i];
      if (!d.problem.empty()) {
        index.bad.emplace_back(item.name, d.problem);
        continue;
      }
      transparent += d.transparent;
      alpha += item.info.channels == 4;
      deep += item.info.depth == 16;
      greatest = std::max(greatest, d.greatest);
      items.push_back(std::move(item));
    }
    index.items = std::move(items);
    say("{}: {} images", path, index.items.size());
    describe_images(index);
    if (alpha > 0)
      say("transparency: {} of {} images with an alpha channel or a colour key{}", transparent, alpha,
          transparent > 0 ? "; with fewer than 4 channels they are laid over --background" : ": 3 channels are enough");
    if (deep > 0)
      say("depth: {} images of 16 bits, samples up to {} of 65535{}", deep, greatest,
          greatest > 0 && greatest < 0x8000
              ? fmt::format(": dark; gan-data convert --rescale takes {} for white", white_of(greatest))
              : "");
    describe_classes(index);
    say_broken(index.bad);
    if (!index.passed_over.empty()) say("passed over: {}", to_string(index.passed_over));
    if (sheet.empty()) return;
    save_png(sheet, contact_sheet(*source, index));
    say("wrote {}", sheet);
  }

  void describe_images(const DatasetIndex& index) const {
    if (index.items.empty()) return;
    const auto sizes = sizes_of(index.items);
    std::map<int, int64_t> channels;
    for (const auto& item : index.items) ++channels[item.info.channels];
    say("sizes: {}", to_string(sizes));
    const Size size = sizes.front().first;
    if (const auto odd = odd_ones(index.items, size); !odd.empty())
      say("  {} of them not {}: {}", odd.size(), to_string(size), first_names(odd));
    std::string text;
    for (const auto& [key, count] : channels) text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", key, count);
    say("channels: {}", text);
    const int richest = channels.rbegin()->first;
    const auto poorer = names_where(index.items, [&](const auto& i) { return i.info.channels < richest; });
    if (!poorer.empty()) say("  {} of them fewer than {}: {}", poorer.size(), richest, first_names(poorer));
    say_untrainable(size, "gan-data convert --pad");
  }

  void describe_classes(const DatasetIndex& index) const {
    std::vector<int64_t> counts(index.class_names.size());
    for (const auto& item : index.items)
      if (item.label >= 0) ++counts[size_t(item.label)];
    say_classes(index.class_names, counts);
    if (const auto empty = empty_classes(index.class_names, counts); !empty.empty()) say("  {}", empty);
    if (const auto told = renumbered_class(index.class_names); !told.empty()) say("  {}", told);
    if (!index.label_problem.empty()) say("labels: {}", index.label_problem);
    const auto& folders_seen = index.folders;
    if (folders_seen.shards) say("folders: numbered like parts of one set, no classes; --folder-classes makes them so");
    if (!folders_seen.splits.empty())
      say("folders: {}: gan-train and convert take one of them with --folder, all with --folder .",
          fmt::join(folders_seen.splits, ", "));
    if (!folders_seen.empty.empty()) say("  no image can be read in {}", first_names(folders_seen.empty));
    const auto loose = names_where(index.items, [](const auto& item) { return item.label < 0; });
    if (index.classes_are_folders && !loose.empty())
      say("  {} images lie beside the class folders and have no class: {}", loose.size(), first_names(loose));
  }
};

}  // namespace

void add_inspect(CLI::App& app) {
  const auto command = std::make_shared<Inspect>();
  command->add_to(app)->final_callback([command] { command->run(); });
}

}  // namespace firn::tools
