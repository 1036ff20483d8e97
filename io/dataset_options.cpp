// The options of a set of images, as rows.
#include "io/dataset.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "io/labels.h"

namespace firn {

namespace {

constexpr const char* group = "Data";

TextValue path_value(std::filesystem::path& path) {
  return {.get = [&path] { return path.string(); }, .set = [&path](const std::string& text) { path = text; }};
}

TextValue background_value(Background& background) {
  return {.get = [&background] { return to_string(background); },
          .set = [&background](const std::string& text) { background = parse_background(text); }};
}

TextValue holdout_value(Holdout& holdout) {
  return {.get = [&holdout] { return to_string(holdout); },
          .set = [&holdout](const std::string& text) { holdout = parse_holdout(text); }};
}

}  // namespace

Holdout parse_holdout(const std::string& text) {
  double value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value >= 0 && value <= 1e9) ||
      (value >= 1 && value != std::floor(value)))
    throw ConfigError(fmt::format("--holdout {}: expected a number of images, like 500, or a part of them, like 0.1",
                                  printable(text, 40)));
  return value < 1 ? Holdout{.part = value} : Holdout{.count = int64_t(value)};
}

std::string to_string(const Holdout& holdout) {
  return holdout.part > 0 ? fmt::to_string(holdout.part) : fmt::to_string(holdout.count);
}

void DatasetOptions::visit(OptionVisitor& v) {
  v({.key = "path"}, path_value(path));
  v({.key = "mirror", .flag = "--mirror", .help = "add every image mirrored", .group = group}, mirror);
  v({.key = "subset",
     .flag = "--subset",
     .help = "train on that many images only",
     .group = group,
     .least = 0,
     .most = 1e9},
    subset);
  v({.key = "holdout",
     .flag = "--holdout",
     .help = "leave that many images out of training, or that part of all, and compare with them [0]",
     .group = group},
    holdout_value(holdout));
  v({.key = "seed"}, seed);
  v({.key = "classes",
     .flag = "--classes",
     .help = "train on these classes only, like 0-8",
     .group = group,
     .least = 0,
     .most = kMostClasses - 1},
    classes);
  v({.key = "resolution"}, resolution);
  v({.key = "width"}, width);
  v({.key = "height"}, height);
  v({.key = "resize", .flag = "--resize", .help = "centre-crop and resize images of other sizes", .group = group},
    resize);
  v({.key = "channels",
     .flag = "--channels",
     .help = "1, 3 or 4 [what the richest image needs]",
     .group = group,
     .least = 0,
     .most = 4},
    channels);
  v({.key = "use_labels"}, use_labels);
  v({.key = "background",
     .flag = "--background",
     .help = "behind transparent images: white, black or #rrggbb [white]",
     .group = group},
    background_value(background));
  v({.key = "folder",
     .flag = "--folder",
     .help = "only what lies in this folder of the data; . for all, train/ and val/ alike",
     .group = group},
    folder);
  v({.key = "folder_classes",
     .flag = "--folder-classes",
     .help = "the outermost folders are classes, whatever they look like",
     .group = group},
    folder_classes);
  v({.key = "by_number"}, by_number);
}

}  // namespace firn
