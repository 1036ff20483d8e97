#include "models/weights.h"

#include "base/error.h"

namespace firn {
namespace {

// to[o,b,a] = from[o,a,b]: OKKI to OIHW with a = pixels, b = channels, and back with the two exchanged.
template <class T>
std::vector<T> swap_inner(std::span<const T> from, int64_t outer, int64_t a, int64_t b) {
  std::vector<T> to(from.size());
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < a; ++i)
      for (int64_t j = 0; j < b; ++j)
        to[static_cast<size_t>((o * b + j) * a + i)] = from[static_cast<size_t>((o * a + i) * b + j)];
  return to;
}

template <class T>
std::vector<T> values_of(const Tensor& t) {
  if constexpr (std::is_same_v<T, float>)
    return t.to_floats();
  else
    return t.to_doubles();
}

}  // namespace

Shape file_shape(const Parameter& parameter) {
  const Shape& s = parameter.value().shape();
  return s.size() == 4 ? Shape{s[0], s[3], s[1], s[2]} : s;
}

template <class T>
std::vector<T> to_file_order(const Parameter& parameter) {
  const Tensor& value = parameter.value();
  std::vector<T> values = values_of<T>(value);
  if (value.rank() != 4) return values;
  return swap_inner<T>(values, value.dim(0), value.dim(1) * value.dim(2), value.dim(3));
}

template <class T>
void load_file_order(const Parameter& parameter, std::span<const T> values) {
  Tensor value = parameter.value();
  if (static_cast<int64_t>(values.size()) != value.count())
    throw ShapeError(
        fmt::format("{}: {} values for shape {}", parameter.name(), values.size(), to_string(file_shape(parameter))));
  std::vector<T> swapped;
  if (value.rank() == 4) {
    swapped = swap_inner<T>(values, value.dim(0), value.dim(3), value.dim(1) * value.dim(2));
    values = swapped;
  }
  value.copy_from(Tensor::from(values, value.shape(), value.type(), value.device()));
}

template std::vector<float> to_file_order(const Parameter&);
template std::vector<double> to_file_order(const Parameter&);
template void load_file_order(const Parameter&, std::span<const float>);
template void load_file_order(const Parameter&, std::span<const double>);

}  // namespace firn
