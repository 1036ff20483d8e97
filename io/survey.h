// What the images of a set have in common, and which are the odd ones out.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "io/dataset_index.h"

namespace firn {

struct Size {
  int width = 0, height = 0;
  bool operator==(const Size&) const = default;
};
inline Size size_of(const ImageInfo& info) { return {info.width, info.height}; }
std::string to_string(Size size);  // "64x48"

using Items = std::span<const DatasetIndex::Item>;

std::vector<std::pair<Size, int64_t>> sizes_of(Items items);                // the commonest first, of equals the larger
std::string to_string(const std::vector<std::pair<Size, int64_t>>& sizes);  // the first five with their counts

// The first few of `names`: "a.png, b.png, c.png and 7 more".
std::string first_names(std::span<const std::string> names);
std::vector<std::string> odd_ones(Items items, Size size);  // "b.png (8x6)"
std::vector<std::string> names_where(Items items, const auto& holds) {
  std::vector<std::string> names;
  for (const auto& item : items)
    if (holds(item)) names.push_back(item.name);
  return names;
}

// "the class called 13 has number 12: classes are numbered from 0 without gaps", or "".
std::string renumbered_class(std::span<const std::string> names);

// "2 of 5 classes have no images: 3 (rose), 4 (tulip)", or "".
std::string empty_classes(std::span<const std::string> names, std::span<const int64_t> counts);

// Both decode what they ask about; broken images say nothing. A transparent image ends the search, as does a 16-bit one
// that needs the whole range.
bool any_transparent(const ImageSource& source, Items items);
int greatest_sample(const ImageSource& source, Items items, int64_t at_most);  // 0: none has 16 bits

int white_of(int greatest);  // the next power of two, minus one: 4095 for 4000

}  // namespace firn
