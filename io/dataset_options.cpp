// The options of a set of images, as rows.
#include "io/dataset.h"
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

}  // namespace

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
