// Sheets of images: grids, stacks and title strips.
#include <algorithm>
#include <string>

#include <stb/stb_easy_font.h>

#include "io/images.h"
#include "kernels/error.h"

namespace firn {
namespace {

void paste(Image& sheet, const Image& image, int left, int top) {
  const Image& source = image.channels == sheet.channels ? image : to_channels(image, sheet.channels);
  for (int y = 0; y < image.height; ++y)
    std::copy_n(source.at(0, y), size_t(image.width) * sheet.channels, sheet.at(left, top + y));
}

int most(std::span<const Image> images, int Image::*member) {
  int value = 1;
  for (const Image& image : images) value = std::max(value, image.*member);
  return value;
}

int total(std::span<const Image> images, int Image::*member) {
  int value = 0;
  for (const Image& image : images) value += image.*member;
  return value;
}

constexpr int line_height = 12, margin = 3;  // of stb_easy_font, in unscaled pixels

// The font is made of axis-parallel rectangles, so filling their corners draws it.
void draw_text(Image& image, std::string text, int left, int top, int scale) {
  struct Vertex {
    float x, y, z;
    unsigned char colour[4];
  };
  std::vector<Vertex> corners(text.size() * 64);
  const int quads =
      stb_easy_font_print(0, 0, text.data(), nullptr, corners.data(), int(corners.size() * sizeof(Vertex)));
  for (int q = 0; q < quads; ++q) {
    const Vertex &a = corners[size_t(q) * 4], &b = corners[size_t(q) * 4 + 2];
    const int right = std::min(image.width, left + int(b.x) * scale),
              bottom = std::min(image.height, top + int(b.y) * scale);
    for (int y = top + int(a.y) * scale; y < bottom; ++y)
      for (int x = left + int(a.x) * scale; x < right; ++x) std::fill_n(image.at(x, y), std::min(image.channels, 3), 0);
  }
}

}  // namespace

Image grid(std::span<const Image> tiles, int columns, int padding) {
  if (tiles.empty() || columns < 1 || padding < 0)
    throw ConfigError(fmt::format("cannot lay {} images in {} columns", tiles.size(), columns));
  const int w = most(tiles, &Image::width) + padding, h = most(tiles, &Image::height) + padding;
  const int rows = (int(tiles.size()) - 1) / columns + 1;
  constexpr int64_t longest_side = 1 << 20;
  if (int64_t{columns} * w > longest_side || int64_t{rows} * h > longest_side)
    throw ConfigError(fmt::format("a sheet of {} columns and {} rows is too large", columns, rows));
  Image sheet(columns * w - padding, rows * h - padding, most(tiles, &Image::channels), 255);
  for (int i = 0; i < int(tiles.size()); ++i) paste(sheet, tiles[size_t(i)], i % columns * w, i / columns * h);
  return sheet;
}

Image stack_vertical(std::span<const Image> images) {
  Image sheet(most(images, &Image::width), total(images, &Image::height), most(images, &Image::channels), 255);
  int top = 0;
  for (const Image& image : images) paste(sheet, image, 0, std::exchange(top, top + image.height));
  return sheet;
}

Image with_title(const Image& image, std::string_view title, int scale) {
  std::string text(title);
  for (char& c : text)
    if (c < ' ' || c > '~') c = '?';  // all that the font has
  const int text_width = stb_easy_font_width(text.data()) + 2 * margin;
  scale = std::max(1, std::min(scale, image.width / text_width));
  Image sheet(std::max(image.width, text_width * scale), image.height + (line_height + margin) * scale, image.channels,
              255);
  draw_text(sheet, text, margin * scale, margin * scale, scale);
  paste(sheet, image, 0, sheet.height - image.height);
  return sheet;
}

}  // namespace firn
