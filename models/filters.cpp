#include "models/filters.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "base/error.h"

namespace firn {
namespace {

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(at, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

template <class T>
std::optional<T> number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value >= 0)) return std::nullopt;
  return value;
}

}  // namespace

void FilterLayer::freeze(const std::vector<int32_t>& numbers) const {
  const std::set<int32_t> frozen(numbers.begin(), numbers.end());
  for (std::optional<Parameter> p : {std::optional(weight), bias}) {
    if (!p || p->frozen()) continue;
    std::vector<int32_t> rest;
    for (int32_t i = 0; i < filters(); ++i)
      if (!frozen.contains(i) && (!p->rows() || std::ranges::binary_search(p->rows()->numbers, i))) rest.push_back(i);
    p->train_rows(std::move(rest));
  }
}

FilterPattern::FilterPattern(const std::string& spec) : text(spec) {
  const auto fail = [&](const std::string& what) { throw ConfigError(fmt::format("freeze '{}': {}", text, what)); };
  if (!text.starts_with("D:") && !text.starts_with("G:")) fail("expected D: or G: before the names");
  of_d = text[0] == 'D';
  const std::vector<std::string> parts = split(text, ':');
  names = split(parts[1], ',');
  if (std::ranges::count(names, "")) fail("a name is missing");
  if (parts.size() == 2) return;
  constexpr const char* expected = "expected filters like 0-31,40 or fisher>q50 behind the names";
  if (parts.size() > 3) fail(expected);
  const std::string& filters = parts[2];
  if (filters.starts_with("fisher>q") || filters.starts_with("fisher<q")) {
    const auto percent = number<double>(std::string_view(filters).substr(8));
    if (!percent || *percent > 100) fail("a quantile is from q0 to q100");
    side = filters[6];
    quantile = *percent / 100;
    return;
  }
  for (const std::string& range : split(filters, ',')) {
    const size_t dash = range.find('-');
    const auto first = number<int32_t>(range.substr(0, dash)),
               last = dash == range.npos ? first : number<int32_t>(range.substr(dash + 1));
    if (!first || !last || *first > *last) fail(expected);
    ranges.emplace_back(*first, *last);
  }
}

std::vector<std::string> FilterPattern::names_in(const Parameters& parameters) const {
  std::vector<std::string> patterns = names;
  for (std::string& name : patterns)
    if (name.find_first_of("*?") == std::string::npos && !parameters.find(name)) name += ".*";
  return patterns;
}

std::vector<FilterLayer> FilterPattern::layers(const Parameters& parameters) const {
  std::vector<FilterLayer> layers;
  std::set<std::string> used;
  for (const Parameter& p : parameters) {
    FilterLayer layer{.name = layer_of_weights(p.name()), .weight = p, .bias = {}};
    if (p.buffer() || layer.name.empty()) continue;
    const Parameter* const bias = parameters.find(layer.name + ".bias");
    if (bias && bias->value().shape() == Shape{layer.filters()}) layer.bias = *bias;
    const int rank = p.value().rank();  // a table of classes has no bias: its rows are no filters
    if (rank != 4 && !(rank == 2 && layer.bias)) continue;
    bool hit = false;
    for (const std::string& name : names)
      if (matches(layer.name, name)) {
        used.insert(name);
        hit = true;
      }
    if (hit) layers.push_back(std::move(layer));
  }
  for (const std::string& name : names)
    if (!used.contains(name))
      throw ConfigError(fmt::format("freeze '{}': no layer with filters is called {}", text, name));
  return layers;
}

std::vector<int32_t> FilterPattern::listed(const FilterLayer& layer) const {
  std::vector<int32_t> numbers;
  for (const auto& [first, last] : ranges) {
    if (last >= layer.filters())
      throw ConfigError(fmt::format("freeze '{}': {} has {} filters, 0 to {}", text, layer.name, layer.filters(),
                                    layer.filters() - 1));
    for (int32_t i = first; i <= last; ++i) numbers.push_back(i);
  }
  return numbers;
}

std::vector<int32_t> FilterPattern::chosen(const std::vector<double>& information) const {
  std::vector<double> sorted = information;
  std::ranges::sort(sorted);
  const double at = quantile * double(sorted.size() - 1), below = std::floor(at);
  const double least = sorted[size_t(below)], most = sorted[size_t(std::ceil(at))];
  const double bound = least + (at - below) * (most - least);
  std::vector<int32_t> numbers;
  for (size_t i = 0; i < information.size(); ++i)
    if (side == '>' ? information[i] > bound : information[i] < bound) numbers.push_back(int32_t(i));
  return numbers;
}

std::string to_pattern(bool of_d, const FilterLayer& layer, const std::vector<int32_t>& numbers) {
  std::string list;
  for (size_t i = 0, end; i < numbers.size(); i = end) {
    for (end = i + 1; end < numbers.size() && numbers[end] == numbers[end - 1] + 1; ++end) {
    }
    list += fmt::format("{}{}", list.empty() ? "" : ",", numbers[i]);
    if (end > i + 1) list += fmt::format("-{}", numbers[end - 1]);
  }
  return fmt::format("{}:{}:{}", of_d ? 'D' : 'G', layer.name, list);
}

}  // namespace firn
