// Filters of layers, by name and number: an output channel of a convolution or of a fully connected layer, which is a
// row of its weights with the same entry of its bias.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "engine/parameters.h"

namespace firn {

struct FilterLayer {
  std::string name;  // "b16.conv0"
  Parameter weight;  // [filters,...]
  std::optional<Parameter> bias;
  int64_t filters() const { return weight.value().dim(0); }
  void freeze(const std::vector<int32_t>& numbers) const;  // besides what is frozen already
};

// What of a network --freeze names: NETWORK:NAMES[:FILTERS], names with * and ? and a comma between them. Without
// filters they are of tensors, or of the layer that holds some; with filters, of layers. FILTERS are numbers and ranges
// from 0 on (0-31,40), or fisher>qN (<qN): those with more (less) Fisher information than the quantile of N % within
// their layer, of its filters that train.
struct FilterPattern {
  explicit FilterPattern(const std::string& text);  // ConfigError
  std::string text;
  bool of_d = false;
  std::vector<std::string> names;
  std::vector<std::pair<int32_t, int32_t>> ranges;  // ends included
  char side = 0;                                    // > or <: by Fisher information
  double quantile = 0;                              // 0 to 1

  bool by_fisher() const { return side != 0; }
  bool has_filters() const { return by_fisher() || !ranges.empty(); }
  std::vector<std::string> names_in(const Parameters& parameters) const;  // of tensors, as Parameters::matching wants
  std::vector<FilterLayer> layers(const Parameters& parameters) const;    // ConfigError for a name of none
  std::vector<int32_t> listed(const FilterLayer& layer) const;            // ConfigError where it has fewer
  std::vector<int32_t> chosen(const std::vector<double>& information) const;  // of the filters of a layer
};

// As a pattern: "D:b16.conv0:0-3,7".
std::string to_pattern(bool of_d, const FilterLayer& layer, const std::vector<int32_t>& numbers);

}  // namespace firn
