#include "io/dataset.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <span>

#include "base/error.h"
#include "base/sha256.h"
#include "base/text.h"

namespace firn {
namespace {

uint64_t split_mix(uint64_t& state) {
  uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

}  // namespace

std::string to_string(Background b) {
  return b == Background{} ? "white" : fmt::format("#{:02x}{:02x}{:02x}", b.r, b.g, b.b);
}

Image padded(const Image& image, int width, int height, Background background) {
  if (image.width > width || image.height > height)
    throw ConfigError(fmt::format("cannot pad {}x{} to {}x{}", image.width, image.height, width, height));
  if (image.width == width && image.height == height) return image;
  const Background& b = background;
  Image colour(1, 1, 4), out(width, height, image.channels);
  std::ranges::copy(std::array<uint8_t, 4>{b.r, b.g, b.b, 255}, colour.pixels.begin());
  colour = to_channels(colour, image.channels);
  if (image.channels == 4) colour.pixels[3] = 0;
  for (size_t i = 0; i < out.pixels.size(); i += size_t(image.channels))
    std::ranges::copy(colour.pixels, out.pixels.begin() + std::ptrdiff_t(i));
  for (int y = 0; y < image.height; ++y)
    std::copy_n(image.at(0, y), size_t(image.width) * size_t(image.channels),
                out.at((width - image.width) / 2, y + (height - image.height) / 2));
  return out;
}

Dataset::~Dataset() = default;

const Dataset::Item& Dataset::item(int64_t i) const {
  if (i < 0 || i >= size()) throw ShapeError(fmt::format("Dataset: there is no item {} of {}", i, size()));
  return items_[size_t(i) % items_.size()];
}

std::string Dataset::label_json(int64_t i) const {
  const Item& wanted = item(i);
  if (wanted.label >= 0) return fmt::format("{}", wanted.label);
  const auto other = other_labels_.find(wanted.name);
  return other == other_labels_.end() ? "" : other->second;
}

Image Dataset::fitted(const Image& image) const {
  if (!resize_ || !pad_) return resize_ ? center_crop_resize(image, width_, height_) : image;
  const double scale = std::min(double(width_) / image.width, double(height_) / image.height);
  const auto side = [&](int stored, int most) { return std::clamp(int(std::lround(stored * scale)), 1, most); };
  return center_crop_resize(image, side(image.width, width_), side(image.height, height_));
}

Image Dataset::prepared(const Item& wanted) const {
  const Turn turn = turn_for(wanted.info);
  Image image = fitted(decode_image(source_->read(wanted.entry), wanted.name, {.white = white_}));
  image = to_channels(image, channels_, background_);
  if (pad_ && image.width <= width_ && image.height <= height_) image = padded(image, width_, height_, background_);
  if (image.width != width_ || image.height != height_)
    throw IoError(fmt::format("{}: its size changed to {}x{}", printable(wanted.name), image.width, image.height));
  return image;
}

Image Dataset::load(int64_t i) const {
  const Item& wanted = item(i);
  try {
    const Image image = prepared(wanted);
    return i < int64_t(items_.size()) ? image : firn::mirror(image);
  } catch (const SystemError&) {
    throw;
  } catch (const IoError& e) {
    const std::lock_guard lock(bad_mutex_);
    const auto same = [&](const BadImage& b) { return b.first == wanted.name; };
    if (std::none_of(bad_.begin(), bad_.end(), same))
      bad_.emplace_back(wanted.name, reason_without_name(e.what(), wanted.name));
    throw;
  }
}

Fingerprint Dataset::fingerprint() const {
  std::vector<std::string> names;
  for (const Item& i : items_) names.push_back(i.name);
  const size_t outer = common_folder(names).size();  // which a zip often has in front, and the folder itself has not
  FingerprintMaker maker;
  for (const Item& i : items_)
    maker.add(std::string_view(i.name).substr(outer), source_->entries()[size_t(i.entry)].size, i.info.width,
              i.info.height, i.label);
  return maker.finish(class_names_);
}

std::string Dataset::content_hash() const {
  Sha256 hash;
  const auto add = [&](const std::string& text) { hash.add(std::as_bytes(std::span(text))); };
  add(fmt::format("{} {} {} {} {} {} {} {}", width_, height_, channels_, white_, mirror_, resize_, pad_,
                  to_string(background_)));
  for (const Item& i : items_) {
    add(fmt::format("\n{} {} ", i.label, source_->entries()[size_t(i.entry)].size));
    try {
      hash.add(source_->read(i.entry));
    } catch (const SystemError&) {
      throw;
    } catch (const IoError&) {
      add("cannot be read");  // a broken entry of a zip is left out of what is measured
    }
  }
  return hash.hex();
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
