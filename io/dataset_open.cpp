// What a data set decides when it is opened: the set decides, not its first file.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "io/dataset.h"
#include "io/survey.h"

namespace firn {
namespace {

constexpr int64_t sample = 32;  // of 16-bit images, to tell whether they would be dark

// The classes asked for become 0, 1, ... in that order.
void keep_classes(DatasetIndex& index, const std::vector<int>& classes, const std::string& where) {
  if (index.class_names.empty())
    throw ConfigError(fmt::format("{}: classes were chosen, but it has no labels{}", where,
                                  index.label_problem.empty() ? "" : ": " + index.label_problem));
  std::vector<int> renumbered(index.class_names.size(), -1);
  std::vector<std::string> names;
  for (int c : classes) {
    if (c < 0 || c >= int(renumbered.size()))
      throw ConfigError(fmt::format("{}: there is no class {}; it has {}", where, c, renumbered.size()));
    if (renumbered[size_t(c)] >= 0) throw ConfigError(fmt::format("class {} is chosen twice", c));
    renumbered[size_t(c)] = int(names.size());
    names.push_back(index.class_names[size_t(c)]);
  }
  index.class_names = std::move(names);
  for (auto& item : index.items) item.label = item.label < 0 ? -1 : renumbered[size_t(item.label)];
  std::erase_if(index.items, [](const auto& item) { return item.label < 0; });
}

void keep(std::vector<DatasetIndex::Item>& items, std::vector<int64_t> numbers) {
  std::sort(numbers.begin(), numbers.end());
  std::vector<DatasetIndex::Item> kept;
  for (const int64_t i : numbers) kept.push_back(std::move(items[size_t(i)]));
  items = std::move(kept);
}

// In one drawn order: those to train on, then those that are left out. Where all are to be trained on but for what is
// left out, the latter are its last.
void keep_subset(std::vector<DatasetIndex::Item>& items, const DatasetOptions& o, const std::string& where) {
  const auto all = int64_t(items.size());
  const char* of_classes = o.classes.empty() ? "" : " of the chosen classes";
  if (o.subset > all)
    throw ConfigError(fmt::format("--subset {}: {} has {} images{}", o.subset, where, all, of_classes));
  const int64_t left_out =
      o.holdout.part > 0 ? std::max<int64_t>(1, std::llround(o.holdout.part * double(all))) : o.holdout.count;
  const int64_t trained = o.subset > 0 ? o.subset : all - left_out;
  if (left_out > 0 && (trained < 1 || trained + left_out > all))
    throw ConfigError(fmt::format("--holdout {}: {} has {} images{}, {}", to_string(o.holdout), where, all, of_classes,
                                  o.subset > 0 ? fmt::format("and --subset trains on {} of them", o.subset)
                                               : "and none would be left to train on"));
  if (!o.held_out && trained == all) return;
  auto order = Dataset::epoch_order(all, o.seed, -1);  // an epoch that no loader reaches
  if (o.held_out) order.erase(order.begin(), order.begin() + trained);
  order.resize(size_t(o.held_out ? left_out : trained));
  keep(items, std::move(order));
}

// Whether there is an image for which `holds`; those that turn out to be broken are taken out.
bool any_good(const ImageSource& source, std::vector<DatasetIndex::Item>& items, std::vector<BadImage>& bad,
              const auto& holds) {
  for (size_t i = 0; i < items.size();) {
    if (!holds(items[i].info)) {
      ++i;
    } else if (decodes(source, items[i], bad)) {
      return true;
    } else {
      items.erase(items.begin() + std::ptrdiff_t(i));
    }
  }
  return false;
}

}  // namespace

Dataset::Dataset(const DatasetOptions& options) : Dataset(open_source(options.path), options) {}

Dataset::Dataset(std::unique_ptr<ImageSource> source, const DatasetOptions& options)
    : source_(std::move(source)),
      mirror_(options.mirror),
      resize_(options.resize),
      pad_(options.pad),
      background_(options.background) {
  const std::string& where = source_->where();
  DatasetIndex index =
      index_dataset(*source_, {.labels = options.use_labels || !options.classes.empty(),
                               .folder = options.folder,
                               .rules = {.always_classes = options.folder_classes, .by_number = options.by_number}});
  if (!index.folders.splits.empty()) {
    const auto& splits = index.folders.splits;
    throw ConfigError(fmt::format("{}: its folders are {} and {}; --folder {} takes one of them, --folder . all", where,
                                  fmt::join(splits.begin(), splits.end() - 1, ", "), splits.back(),
                                  splits[splits.size() > 2 ? 1 : 0]));
  }
  if (!index.passed_over.empty()) notes_.push_back("passed over: " + to_string(index.passed_over));
  bad_ = std::move(index.bad);
  any_good(*source_, index.items, bad_, [](const ImageInfo&) { return true; });
  if (index.items.empty() && !bad_.empty())
    throw IoError(fmt::format("{}: none of its {} images can be read; the first, {}: {}", where, bad_.size(),
                              printable(bad_.front().first), bad_.front().second));
  decide_range(index.items, options);
  take_labels(index, options);
  keep_subset(index.items, options, where);
  if (index.items.empty())
    throw IoError(fmt::format("{}: there are no images in it{}", where,
                              notes_.empty() ? "" : fmt::format(" ({})", notes_.front())));
  decide_size(index.items, options);
  decide_channels(index.items, options);
  if (width_ < 1 || height_ < 1 || width_ > 16384 || height_ > 16384 ||
      (channels_ != 1 && channels_ != 3 && channels_ != 4))
    throw ConfigError(fmt::format("{}: a data set of {}x{}x{} makes no sense", where, width_, height_, channels_));
  require_size(index.items);
  items_ = std::move(index.items);
  if (!options.use_labels)
    for (Item& item : items_) item.label = -1;
  count_classes();
}

void Dataset::take_labels(DatasetIndex& index, const DatasetOptions& options) {
  const std::string& where = source_->where();
  label_problem_ = index.label_problem;
  const auto unlabelled = names_where(index.items, [](const Item& item) { return item.label < 0; });
  const bool labels = !index.class_names.empty(), some_without = labels && !unlabelled.empty();
  if (options.all_labels && labels && !label_problem_.empty())  // also where folders would do instead
    throw IoError(fmt::format("{}: {}", where, label_problem_));
  if (!options.all_labels && !label_problem_.empty()) notes_.push_back("labels: " + label_problem_);
  if (some_without && index.classes_are_folders)
    notes_.push_back(fmt::format("{} of the images lie beside the class folders and {}: {}", unlabelled.size(),
                                 options.all_labels ? "are left out" : "have no class", first_names(unlabelled)));
  if (!index.folders.empty.empty())
    notes_.push_back("no image can be read in folders that are no classes therefore: " +
                     first_names(index.folders.empty));
  if (options.use_labels && index.folders.shards)
    notes_.push_back("its folders are numbered like parts of one set and no classes; --folder-classes makes them so");
  if (some_without && options.all_labels) std::erase_if(index.items, [](const Item& item) { return item.label < 0; });

  if (!options.classes.empty()) keep_classes(index, options.classes, where);
  if (!options.use_labels) return;
  class_names_ = std::move(index.class_names);
  num_classes_ = int(class_names_.size());
  classes_are_folders_ = index.classes_are_folders;
  other_labels_ = std::move(index.other_labels);
}

void Dataset::decide_range(const std::vector<Item>& items, const DatasetOptions& options) {
  const auto deep = std::ranges::count_if(items, [](const Item& item) { return item.info.depth == 16; });
  if (deep == 0) return;
  constexpr int full = 65535;
  const int greatest = greatest_sample(*source_, items, options.rescale ? deep : sample);
  if (white_of(greatest) == full || greatest == 0) return;
  if (options.rescale) white_ = white_of(greatest);
  notes_.push_back(
      options.rescale
          ? fmt::format("{} images of 16 bits have samples up to {}: {} becomes white", deep, greatest, white_)
          : fmt::format("{} images of 16 bits would be dark: the brightest of {} that were looked at has "
                        "samples up to {} of 65535; gan-data convert --rescale takes that for white",
                        deep, std::min<int64_t>(deep, sample), greatest));
}

void Dataset::decide_size(std::vector<Item>& items, const DatasetOptions& options) {
  const bool wish = options.resolution || options.width || options.height;
  auto sizes = sizes_of(items);
  const auto is_commonest = [&](const ImageInfo& info) { return size_of(info) == sizes.front().first; };
  while (!any_good(*source_, items, bad_, is_commonest)) {
    if (items.empty()) throw IoError(fmt::format("{}: no image that was chosen can be read", source_->where()));
    sizes = sizes_of(items);
  }
  Size stored = sizes.front().first;
  if (options.pad && !options.resize && !wish)
    for (const auto& [size, count] : sizes)
      stored = {std::max(stored.width, size.width), std::max(stored.height, size.height)};
  const auto side = [&](int own, int other, int from, int other_from) {
    if (own || options.resolution) return own ? own : options.resolution;
    return other ? std::max(1, int(std::lround(double(other) * from / other_from))) : from;
  };
  width_ = side(options.width, options.height, stored.width, stored.height);
  height_ = side(options.height, options.width, stored.height, stored.width);
  if (const auto odd = odd_ones(items, sizes.front().first); resize_ && !wish && !odd.empty())
    notes_.push_back(fmt::format("{} of {} images are not {} and are resized: {}", odd.size(), items.size(),
                                 to_string(sizes.front().first), first_names(odd)));
}

void Dataset::decide_channels(std::vector<Item>& items, const DatasetOptions& options) {
  std::map<int, std::vector<std::string>> kinds;
  for (const Item& item : items) kinds[item.info.channels].push_back(item.name);
  channels_ = options.channels;
  bool transparent = kinds.contains(4);
  if (!channels_ && transparent) transparent = any_transparent(*source_, items);
  if (!channels_) channels_ = transparent ? 4 : kinds.contains(3) || kinds.contains(4) ? 3 : 1;
  if (transparent && channels_ < 4)
    notes_.push_back(fmt::format("{} of {} images have an alpha channel or a colour key: they are laid over {}",
                                 kinds[4].size(), items.size(), to_string(background_)));
  for (const auto& [channels, names] : kinds)
    if (!options.channels && channels < channels_)
      notes_.push_back(fmt::format("{} of {} images have no {} and become {}: {}", names.size(), items.size(),
                                   channels == 1 ? "colour" : "alpha", channels_ == 3 ? "RGB" : "RGBA",
                                   first_names(names)));
}

// An error names what helps; images that cannot be decoded are broken, whatever size they claim.
void Dataset::require_size(std::vector<Item>& items) {
  const Size wanted{width_, height_};
  const auto odd = [&](const ImageInfo& info) {
    return !resize_ && (pad_ ? info.width > width_ || info.height > height_ : size_of(info) != wanted);
  };
  if (!any_good(*source_, items, bad_, odd)) return;
  const auto names = odd_ones(items, wanted);
  throw IoError(fmt::format(
      "{}: {} of its {} images are not {}: {}; sizes: {}; --resize crops and resizes, and "
      "gan-data convert writes a set of one size",
      source_->where(), names.size(), items.size(), to_string(wanted), first_names(names), to_string(sizes_of(items))));
}

void Dataset::count_classes() {
  class_counts_.assign(size_t(num_classes_), 0);
  for (const Item& item : items_)
    if (item.label >= 0) ++class_counts_[size_t(item.label)];
  if (const auto empty = empty_classes(class_names_, class_counts_); !empty.empty()) notes_.push_back(empty);
  if (const auto told = renumbered_class(class_names_); !told.empty()) notes_.push_back(told);
}

}  // namespace firn
