#include "io/dataset.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "io/dataset_index.h"
#include "io/files.h"
#include "kernels/error.h"

namespace firn {
namespace {

uint64_t split_mix(uint64_t& state) {
  uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

// The classes asked for become 0, 1, ... in that order.
void keep_classes(DatasetIndex& index, const std::vector<int>& classes, const std::string& where) {
  if (index.class_names.empty()) throw ConfigError(fmt::format("{}: classes were chosen, but it has no labels", where));
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
  for (auto& item : index.items) item.label = renumbered[size_t(item.label)];
  std::erase_if(index.items, [](const auto& item) { return item.label < 0; });
}

void keep_subset(std::vector<DatasetIndex::Item>& items, int64_t count, uint64_t seed) {
  if (count <= 0 || count >= int64_t(items.size())) return;
  auto order = Dataset::epoch_order(int64_t(items.size()), seed, -1);  // an epoch that no loader reaches
  order.resize(size_t(count));
  std::sort(order.begin(), order.end());
  std::vector<DatasetIndex::Item> kept;
  for (int64_t i : order) kept.push_back(std::move(items[size_t(i)]));
  items = std::move(kept);
}

}  // namespace

Dataset::Dataset(const DatasetOptions& options) : Dataset(open_source(options.path), options) {}

Dataset::Dataset(std::unique_ptr<ImageSource> source, const DatasetOptions& options)
    : source_(std::move(source)), mirror_(options.mirror), resize_(options.resize) {
  const std::string& where = source_->where();
  const auto read_labels = options.use_labels || !options.classes.empty() ? ReadLabels::yes : ReadLabels::no;
  DatasetIndex index = index_dataset(*source_, read_labels);
  bad_ = std::move(index.bad);
  // An image that cannot be decoded must not decide what size the set has.
  while (!index.items.empty() && !decodes(*source_, index.items.front(), bad_)) index.items.erase(index.items.begin());
  if (index.items.empty() && !bad_.empty())
    throw IoError(fmt::format("{}: none of its {} images can be read; the first, {}: {}", where, bad_.size(),
                              printable(bad_.front().first), bad_.front().second));
  if (!options.classes.empty()) keep_classes(index, options.classes, where);
  keep_subset(index.items, options.subset, options.seed);
  if (index.items.empty()) throw IoError(fmt::format("{}: there are no images in it", where));

  const ImageInfo& first = index.items.front().info;
  const auto wish = [&](int side, int stored) {
    return side ? side : options.resolution ? options.resolution : stored;
  };
  width_ = wish(options.width, first.width);
  height_ = wish(options.height, first.height);
  channels_ = options.channels ? options.channels : first.channels;
  if (width_ < 1 || height_ < 1 || width_ > 16384 || height_ > 16384 ||
      (channels_ != 1 && channels_ != 3 && channels_ != 4))
    throw ConfigError(fmt::format("{}: a data set of {}x{}x{} makes no sense", where, width_, height_, channels_));
  if (options.use_labels) class_names_ = std::move(index.class_names);
  num_classes_ = int(class_names_.size());

  for (auto& [name, entry, label, info] : index.items) {
    const bool fits = resize_ || (info.width == width_ && info.height == height_);
    if (!fits && !decodes(*source_, {name, entry, label, info}, bad_)) continue;
    if (!fits)
      throw IoError(fmt::format("{}: {} is {}x{}, but {}x{} is expected; ask for resizing or convert the set", where,
                                printable(name), info.width, info.height, width_, height_));
    items_.push_back({std::move(name), entry, options.use_labels ? label : -1, info});
  }
}

Dataset::~Dataset() = default;

const Dataset::Item& Dataset::item(int64_t i) const {
  if (i < 0 || i >= size()) throw ShapeError(fmt::format("Dataset: there is no item {} of {}", i, size()));
  return items_[size_t(i) % items_.size()];
}

Image Dataset::load(int64_t i) const {
  const Item& wanted = item(i);
  try {
    Image image = decode_image(source_->read(wanted.entry), wanted.name);
    if (resize_) image = center_crop_resize(image, width_, height_);
    if (image.width != width_ || image.height != height_)
      throw IoError(fmt::format("{}: its size changed to {}x{}", printable(wanted.name), image.width, image.height));
    image = to_channels(image, channels_);
    return i < int64_t(items_.size()) ? image : firn::mirror(image);
  } catch (const IoError& e) {
    const std::lock_guard lock(bad_mutex_);
    const auto same = [&](const BadImage& b) { return b.first == wanted.name; };
    if (std::none_of(bad_.begin(), bad_.end(), same))
      bad_.emplace_back(wanted.name, reason_without_name(e.what(), wanted.name));
    throw;
  }
}

Fingerprint Dataset::fingerprint() const {
  FingerprintMaker maker;
  for (const Item& i : items_)
    maker.add(i.name, source_->entries()[size_t(i.entry)].size, i.info.width, i.info.height, i.label);
  return maker.finish(class_names_);
}

std::vector<BadImage> Dataset::bad_images() const {
  const std::lock_guard lock(bad_mutex_);
  return bad_;
}

std::vector<int64_t> Dataset::epoch_order(int64_t size, uint64_t seed, int64_t epoch) {
  std::vector<int64_t> order(static_cast<size_t>(size));
  std::iota(order.begin(), order.end(), 0);
  uint64_t state = seed;
  state = split_mix(state) ^ uint64_t(epoch);
  // Fisher-Yates; the high half of the product maps 64 random bits to [0, i) evenly enough for any real set.
  for (uint64_t i = uint64_t(size); i > 1; --i) {
    const auto j = uint64_t((static_cast<unsigned __int128>(split_mix(state)) * i) >> 64);
    std::swap(order[i - 1], order[j]);
  }
  return order;
}

}  // namespace firn
