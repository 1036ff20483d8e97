#include "metrics/numbers/sliced.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace firn {
namespace {

Matrix directions(int64_t count, int64_t columns, std::mt19937_64& random) {
  Matrix m(count, columns);
  m.values = normals(m.rows * columns, random);
  for (int64_t i = 0; i < count; ++i) {
    double square = 0;
    for (int64_t j = 0; j < columns; ++j) square += m(i, j) * m(i, j);
    for (int64_t j = 0; j < columns; ++j) m(i, j) /= std::sqrt(square);
  }
  return m;
}

void sort_rows(Matrix& m) {
#pragma omp parallel for schedule(dynamic)
  for (int64_t i = 0; i < m.rows; ++i)
    std::sort(m.values.begin() + i * m.columns, m.values.begin() + (i + 1) * m.columns);
}

}  // namespace

SlicedDistance sliced_distance(const Matrix& a, const Matrix& b, Sliced options) {
  const int64_t count = std::min(a.rows, b.rows);
  if (count < 1) throw Error("a sliced distance needs an image on both sides");
  std::mt19937_64 random(options.seed);
  const Matrix onto = directions(options.directions, a.columns, random);
  const auto projected = [&](const Matrix& m) {
    Matrix p = product_of_rows(onto, m.rows > count ? drawn_rows(m, count, random) : m);
    sort_rows(p);
    return p;
  };
  const Matrix x = projected(a), y = projected(b);
  SlicedDistance d;
  for (size_t i = 0; i < x.values.size(); ++i) {
    const double difference = x.values[i] - y.values[i];
    d.mean += std::abs(difference);
    d.mean_square += difference * difference;
  }
  d.mean /= double(x.values.size());
  d.mean_square /= double(x.values.size());
  return d;
}

}  // namespace firn
