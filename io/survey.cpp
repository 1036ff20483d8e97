#include "io/survey.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <map>

#include "base/error.h"
#include "base/text.h"
#include "io/parallel.h"

namespace firn {

std::string to_string(Size size) { return fmt::format("{}x{}", size.width, size.height); }

std::vector<std::pair<Size, int64_t>> sizes_of(Items items) {
  std::map<std::pair<int, int>, int64_t> counts;
  for (const auto& item : items) ++counts[{item.info.width, item.info.height}];
  std::vector<std::pair<Size, int64_t>> sizes;
  for (const auto& [size, count] : counts) sizes.push_back({{size.first, size.second}, count});
  std::ranges::sort(sizes, std::greater{}, [](const auto& s) {
    return std::tuple(s.second, int64_t{s.first.width} * s.first.height, s.first.width);
  });
  return sizes;
}

std::string to_string(const std::vector<std::pair<Size, int64_t>>& sizes) {
  constexpr size_t shown = 5;
  std::string text;
  for (size_t i = 0; i < std::min(sizes.size(), shown); ++i)
    text += fmt::format("{}{} ({})", i ? ", " : "", to_string(sizes[i].first), sizes[i].second);
  return sizes.size() > shown ? text + fmt::format(" and {} other sizes", sizes.size() - shown) : text;
}

std::string first_names(std::span<const std::string> names) {
  constexpr size_t shown = 3;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), shown); ++i) text += (i ? ", " : "") + printable(names[i]);
  return names.size() > shown ? text + fmt::format(" and {} more", names.size() - shown) : text;
}

std::vector<std::string> odd_ones(Items items, Size size) {
  std::vector<std::string> names;
  for (const auto& item : items)
    if (size_of(item.info) != size) names.push_back(fmt::format("{} ({})", item.name, to_string(size_of(item.info))));
  return names;
}

std::string renumbered_class(std::span<const std::string> names) {
  for (size_t c = 0; c < names.size(); ++c) {
    const std::string_view name = names[c];
    if (name.empty() || name.size() > 9 || name.find_first_not_of("0123456789") != name.npos) return "";
    if (size_t(std::stoi(names[c])) != c)
      return fmt::format("the class called {} has number {}: classes are numbered from 0 without gaps", name, c);
  }
  return "";
}

std::string empty_classes(std::span<const std::string> names, std::span<const int64_t> counts) {
  std::vector<std::string> empty;
  for (size_t c = 0; c < counts.size(); ++c)
    if (counts[c] == 0) empty.push_back(fmt::format("{} ({})", c, names[c]));
  if (empty.empty()) return "";
  return fmt::format("{} of {} classes have no images: {}", empty.size(), counts.size(), first_names(empty));
}

bool any_transparent(const ImageSource& source, Items items) {
  std::atomic<bool> found = false;
  for_each_in_parallel(items.size(), 8, [&](size_t i) {
    const auto& item = items[i];
    if (found || item.info.channels != 4) return;
    content_problem(item.name, [&] {
      const Turn turn = turn_for(item.info);
      if (!opaque(decode_image(source.read(item.entry), item.name))) found = true;
    });
  });
  return found;
}

int greatest_sample(const ImageSource& source, Items items, int64_t at_most) {
  std::vector<const DatasetIndex::Item*> deep;
  for (const auto& item : items)
    if (item.info.depth == 16) deep.push_back(&item);
  const size_t count = size_t(std::min<int64_t>(std::ssize(deep), at_most));
  std::atomic<int> greatest = 0;
  for_each_in_parallel(count, 8, [&](size_t i) {
    if (greatest > 0x7fff) return;
    const auto& item = *deep[i * deep.size() / count];
    content_problem(item.name, [&] {
      const int peak = sample_peak(source.read(item.entry), item.name);
      for (int before = greatest; before < peak && !greatest.compare_exchange_weak(before, peak);) {
      }
    });
  });
  return greatest;
}

int white_of(int greatest) { return int(std::bit_ceil(unsigned(greatest) + 1) - 1); }

}  // namespace firn
