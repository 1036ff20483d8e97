#include "metrics/numbers/distances.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "metrics/numbers/blas.h"

namespace firn {
namespace {

constexpr int64_t kTile = 256;   // rows and columns: bounds stay in the cache
constexpr double kMost = 1e150;  // squares of it are finite

// What single precision makes of |x|^2 + |y|^2 - 2 x y, at most, as a share of |x|^2 + |y|^2: n roundings of the
// product in whatever order, by Cauchy-Schwarz, and some for rounding x, y and sums. Halves of it are to spare.
float share_of_error(int64_t columns) {
  const double u = 0x1p-24, n = double(columns);
  return float(1.01 * n * u / std::max(1 - n * u, 0.5) + 24 * u);
}

}  // namespace

double squared_distance(const double* a, const double* b, int64_t columns) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < columns; ++j) sum += (a[j] - b[j]) * (a[j] - b[j]);
  return sum;
}

Distances::Distances(const Matrix& a, const Matrix& b, bool of_one) : a_(a), b_(b), of_one_(of_one) {
  if (a.columns != b.columns)
    throw ShapeError(fmt::format("features of {} and of {} numbers are of two networks", a.columns, b.columns));
  std::vector<double> centre = mean_of_rows(a);
  double most = 0;
  for (const Matrix* m : {&a, &b})
#pragma omp parallel for reduction(max : most)
    for (int64_t i = 0; i < m->rows; ++i)
      for (int64_t j = 0; j < m->columns; ++j) {
        const double size = std::abs((*m)(i, j) - centre[size_t(j)]);
        most = size <= most ? most : size < kMost ? size : INFINITY;  // NaN, too
      }
  if (!(most < kMost)) throw Error("features are not finite, or huge: they have no distances");
  const double scale = std::ldexp(1, most > 0x1p-500 ? -std::ilogb(most) - 1 : 500);  // powers of 2 round nothing
  unit_ = scale * scale;
  x_ = side(a, centre, scale);
  if (!of_one_) y_ = side(b, centre, scale);
}

Distances::Side Distances::side(const Matrix& m, const std::vector<double>& centre, double scale) const {
  const float error = share_of_error(m.columns), tiny = float(m.columns + 1) * 0x1p-140f;  // what underflow loses
  Side s{std::make_unique_for_overwrite<float[]>(m.values.size()), std::vector<float>(size_t(m.rows)),
         std::vector<float>(size_t(m.rows))};
#pragma omp parallel for
  for (int64_t i = 0; i < m.rows; ++i) {
    double square = 0;
    for (int64_t j = 0; j < m.columns; ++j) {
      const float v = float((m(i, j) - centre[size_t(j)]) * scale);
      s.values[i * m.columns + j] = v;
      square += double(v) * v;
    }
    s.base[size_t(i)] = float(square) * (1 - error) - tiny;
    s.slack[size_t(i)] = 2 * (error * float(square) + tiny);
  }
  return s;
}

void Distances::for_tiles(const std::function<void(const Tile&)>& f) const {
  const int64_t down = (a_.rows + kTile - 1) / kTile, across = (b_.rows + kTile - 1) / kTile;
  const Blas& lib = blas();
#pragma omp parallel
  {
    std::vector<float> least(kTile * kTile);
#pragma omp for schedule(dynamic)
    for (int64_t t = 0; t < down * across; ++t) {
      const int64_t row = t / across * kTile, column = t % across * kTile;
      if (of_one_ && column < row) continue;
      const int64_t rows = std::min(kTile, a_.rows - row), columns = std::min(kTile, b_.rows - column);
      const auto n = int(a_.columns);
      lib.gemm_f32(CblasRowMajor, CblasNoTrans, CblasTrans, int(rows), int(columns), n, -2, x_.values.get() + row * n,
                   std::max(n, 1), y().values.get() + column * n, std::max(n, 1), 0, least.data(), int(columns));
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j)
          least[size_t(i * columns + j)] += x_.base[size_t(row + i)] + y().base[size_t(column + j)];
      f({row, rows, column, columns, least.data()});
    }
  }
}

}  // namespace firn
