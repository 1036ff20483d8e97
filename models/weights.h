// Parameters in the order of files. A 4-D weight is [O,K,K,I] in memory and OIHW in files; all else is equal.
#pragma once
#include <span>
#include <vector>

#include "engine/parameters.h"

namespace firn {

Shape file_shape(const Parameter& parameter);

// T is float or double.
template <class T>
std::vector<T> to_file_order(const Parameter& parameter);

// ShapeError unless values.size() == parameter.count().
template <class T>
void load_file_order(const Parameter& parameter, std::span<const T> values);

}  // namespace firn
