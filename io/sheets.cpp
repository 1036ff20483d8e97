// Sheets of images: grids, stacks and title strips.
#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include <stb/stb_easy_font.h>

#include "base/error.h"
#include "base/text.h"
#include "io/images.h"

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

constexpr int line_height = 12, margin = 3, box_width = 6;  // of stb_easy_font, in unscaled pixels

// A letter of the font, which has ASCII, and the mark on it; no letter: a box stands for what the font lacks.
struct Glyph {
  char letter = 0, mark = ' ';
};

struct Mark {
  char name;
  int32_t combining;            // U+0300 and on
  std::array<uint8_t, 2> rows;  // of three pixels each, the left one highest
};
constexpr Mark marks[] = {{'g', 0x300, {4, 2}}, {'a', 0x301, {1, 2}}, {'c', 0x302, {2, 5}}, {'t', 0x303, {3, 6}},
                          {'m', 0x304, {0, 7}}, {'b', 0x306, {5, 7}}, {'o', 0x307, {0, 2}}, {'d', 0x308, {0, 5}},
                          {'r', 0x30a, {7, 7}}, {'h', 0x30b, {5, 5}}, {'v', 0x30c, {5, 2}}, {'s', 0x327, {2, 6}},
                          {'k', 0x328, {2, 3}}};

// U+00C0 to U+017F: '?' is a box, or one of the pairs below; '/' and '-' strike a letter through.
constexpr std::string_view letters =
    "AAAAAA?CEEEEIIIIDNOOOOO?OUUUUY??aaaaaa?ceeeeiiiidnooooo?ouuuuy?yAaAaAaCcCcCcCcDdDdEeEeEeEeEeGgGg"
    "GgGgHhHhIiIiIiIiIi??JjKkkLlLlLl??LlNnNnNn???OoOoOo??RrRrRrSsSsSsSsTtTtTtUuUuUuUuUuUuWwYyYZzZzZz?";
constexpr std::string_view letter_marks =
    "gactdr sgacdgacd-tgactd /gacda  gactdr sgacdgacd-tgactd /gacda dmmbbkkaaccoovvvv--mmbbookkvvccbb"
    "oosscc--ttmmbbkko   ccss aassvv  //aassvv   mmbbhh  aassvvaaccssvvssvv--ttmmbbrrhhkkccccdaaoovv ";
static_assert(letters.size() == 0x180 - 0xc0 && letter_marks.size() == letters.size());

struct Substitute {
  int32_t code;
  const char* text;
};
constexpr Substitute substitutes[] = {{0xa0, " "},    {0xc6, "AE"},    {0xe6, "ae"},  {0xdf, "ss"},   {0x132, "IJ"},
                                      {0x133, "ij"},  {0x152, "OE"},   {0x153, "oe"}, {0x2013, "-"},  {0x2014, "-"},
                                      {0x2018, "'"},  {0x2019, "'"},   {0x201a, ","}, {0x201c, "\""}, {0x201d, "\""},
                                      {0x201e, "\""}, {0x2026, "..."}, {0x2212, "-"}};

std::vector<Glyph> glyphs_of(std::string_view text) {
  std::vector<Glyph> glyphs;
  for (Utf8Character c; !text.empty(); text.remove_prefix(c.size)) {
    c = first_character(text);
    const auto mark = std::ranges::find(marks, c.code, &Mark::combining);
    const auto other = std::ranges::find(substitutes, c.code, &Substitute::code);
    if (c.code >= ' ' && c.code <= '~') {
      glyphs.push_back({char(c.code)});
    } else if (mark != std::end(marks) && !glyphs.empty() && glyphs.back().mark == ' ') {
      glyphs.back().mark = mark->name;
    } else if (other != std::end(substitutes)) {
      for (const char* letter = other->text; *letter; ++letter) glyphs.push_back({*letter});
    } else if (c.code >= 0xc0 && c.code < 0x180 && letters[size_t(c.code - 0xc0)] != '?') {
      glyphs.push_back({letters[size_t(c.code - 0xc0)], letter_marks[size_t(c.code - 0xc0)]});
    } else {
      glyphs.push_back({});
    }
  }
  return glyphs;
}

int width_of(const Glyph& glyph) {
  char text[] = {glyph.letter, 0};
  return glyph.letter ? stb_easy_font_width(text) : box_width;
}

// The font is made of axis-parallel rectangles, so filling their corners draws it. `left` and `top` are unscaled.
void draw_glyph(Image& image, const Glyph& glyph, int left, int top, int scale) {
  const auto fill = [&](int x0, int y0, int x1, int y1) {
    const int right = std::min(image.width, x1 * scale), bottom = std::min(image.height, y1 * scale);
    for (int y = std::max(0, y0 * scale); y < bottom; ++y)
      for (int x = std::max(0, x0 * scale); x < right; ++x) std::fill_n(image.at(x, y), std::min(image.channels, 3), 0);
  };
  if (!glyph.letter) {
    const int right = left + box_width - 2, bottom = top + 8;
    fill(left, top, right, top + 1);
    fill(left, bottom - 1, right, bottom);
    fill(left, top, left + 1, bottom);
    return fill(right - 1, top, right, bottom);
  }
  struct Vertex {
    float x, y, z;
    unsigned char colour[4];
  };
  std::array<Vertex, 256> corners;
  char text[] = {glyph.letter, 0};
  const int quads = stb_easy_font_print(0, 0, text, nullptr, corners.data(), int(sizeof corners));
  int first = line_height, last = 0, right = 0;
  for (int q = 0; q < quads; ++q) {
    const Vertex &a = corners[size_t(q) * 4], &b = corners[size_t(q) * 4 + 2];
    fill(left + int(a.x), top + int(a.y), left + int(b.x), top + int(b.y));
    first = std::min(first, int(a.y));
    last = std::max(last, int(b.y));
    right = std::max(right, int(b.x));
  }
  const int middle = top + (first + last) / 2;
  if (glyph.mark == '-') return fill(left, middle, left + right, middle + 1);
  if (glyph.mark == '/')
    for (int i = 0; i < 4; ++i) fill(left + i, middle + 2 - i, left + i + 1, middle + 3 - i);
  const auto mark = std::ranges::find(marks, glyph.mark, &Mark::name);
  if (mark == std::end(marks)) return;
  const bool below = glyph.mark == 's' || glyph.mark == 'k';
  const int x = left + std::max(0, (right - 3) / 2), y = below ? top + last : top + first - 3;
  for (int row = 0; row < 2; ++row)
    for (int i = 0; i < 3; ++i)
      if (mark->rows[size_t(row)] >> (2 - i) & 1) fill(x + i, y + row, x + i + 1, y + row + 1);
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
  const std::vector<Glyph> glyphs = glyphs_of(title);
  int text_width = 2 * margin;
  for (const Glyph& glyph : glyphs) text_width += width_of(glyph);
  scale = std::max(1, std::min(scale, image.width / text_width));
  Image sheet(std::max(image.width, text_width * scale), image.height + (line_height + margin) * scale, image.channels,
              255);
  int left = margin;
  for (const Glyph& glyph : glyphs)
    draw_glyph(sheet, glyph, std::exchange(left, left + width_of(glyph)), margin, scale);
  paste(sheet, image, 0, sheet.height - image.height);
  return sheet;
}

}  // namespace firn
