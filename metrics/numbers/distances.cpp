#include "metrics/numbers/distances.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/gemm_onednn.h"

namespace firn {
namespace {

constexpr int64_t kRows = 512, kColumns = 4096;  // of a tile: its bounds stay in the cache
constexpr int64_t kBand = 16;                    // columns that are turned at once
constexpr double kMost = 1e150;                  // squares of it are finite

// What single precision makes of |x|^2 + |y|^2 - 2 x y, at most, as a share of |x|^2 + |y|^2: n roundings of the
// product in whatever order, by Cauchy-Schwarz, and some for sums. Halves of it are to spare.
double share_of_error(int64_t columns) {
  const double u = 0x1p-24, n = double(columns);
  return 1.02 * n * u / std::max(1 - n * u, 0.5) + 24 * u;
}

constexpr int64_t kSome = 256;
static_assert(kSome <= kRows);

Matrix some_of(const Matrix& m) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < std::min(kSome, m.rows); ++i) rows.push_back(i * m.rows / std::min(kSome, m.rows));
  return rows_of(m, rows);
}

// Of columns.
struct Spread {
  std::vector<double> mean, least, most;
};

Spread spread(const Matrix& m) {
  constexpr int64_t strip = 256;
  const auto n = size_t(m.columns);
  if (m.rows == 0) return {std::vector<double>(n), std::vector<double>(n), std::vector<double>(n)};
  Spread s{std::vector<double>(n), std::vector<double>(n, INFINITY), std::vector<double>(n, -INFINITY)};
#pragma omp parallel for
  for (int64_t first = 0; first < m.columns; first += strip)
    for (int64_t i = 0; i < m.rows; ++i)
      for (int64_t j = first; j < std::min(first + strip, m.columns); ++j) {
        const double v = m(i, j);
        s.mean[size_t(j)] += v;
        s.least[size_t(j)] = std::min(s.least[size_t(j)], v);
        s.most[size_t(j)] = std::max(s.most[size_t(j)], v);
      }
  for (double& mean : s.mean) mean /= double(m.rows);
  return s;
}

// The usual |x - rounded x| / |x|.
template <class T>
constexpr double kRounding = std::is_same_v<T, bf16> ? 0x1.bp-10 : 0x1.bp-26;

}  // namespace

double squared_distance(const double* a, const double* b, int64_t columns) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < columns; ++j) sum += (a[j] - b[j]) * (a[j] - b[j]);
  return sum;
}

// bf16 leaves more open, which costs more than it saves where rows are in few tight clusters: some of them tell.
DType Distances::type_for(const Matrix& a, const Matrix* b) {
  if (!kernels::onednn::has_bf16()) return DType::f32;
  const Matrix x = some_of(a), y = b ? some_of(*b) : Matrix();
  const Distances distances(x, b ? &y : nullptr, DType::bf16);
  std::vector<int64_t> open(size_t(x.rows));
  distances.for_parts([&](const Part& p) {  // one a row
    float bar = INFINITY;
    for (size_t j = 0; j < p.least.size(); ++j)
      bar = std::min(bar, distances.most(p.least[j], p.row, p.first + int64_t(j)));
    open[size_t(p.row)] = std::ranges::count_if(p.least, [&](float least) { return least <= bar; });
  });
  return std::accumulate(open.begin(), open.end(), int64_t{0}) <= 6 * x.rows ? DType::bf16 : DType::f32;
}

Distances::Distances(const Matrix& a, const Matrix* second, std::optional<DType> type)
    : a_(a), b_(second ? *second : a), of_one_(!second), type_(type ? *type : type_for(a, second)) {
  const Matrix& b = b_;
  check_columns(a, b);
  const Spread of_a = spread(a), of_b = of_one_ ? of_a : spread(b);
  const std::vector<double>& centre = of_a.mean;
  double most = 0;
  for (const Spread* s : {&of_a, &of_b})
    for (size_t j = 0; j < centre.size(); ++j)
      for (const double edge : {s->least[j], s->most[j], s->mean[j]}) {  // a mean is NaN where a value is
        const double size = std::abs(edge - centre[j]);
        most = size <= most ? most : size < kMost ? size : INFINITY;
      }
  if (!(most < kMost)) throw Error("features are not finite, or huge: they have no distances");
  const double scale = std::ldexp(1, most > 0x1p-500 ? -std::ilogb(most) - 1 : 500);  // powers of 2 round nothing
  unit_ = scale * scale;
  const auto side_of = [&](const Matrix& m) {
    return type_ == DType::bf16 ? side<bf16>(m, centre, scale) : side<float>(m, centre, scale);
  };
  x_ = side_of(a);
  if (!of_one_) y_ = side_of(b);
}

// Where x is rounded to x + r and y to y + s, 2 x y is off by 2 (x s + r y + r s), of which 2 |x| |s| is at most
// q |x|^2 + |s|^2 / q for any q: each row has its own share of the bound.
template <class T>
Distances::Side Distances::side(const Matrix& m, const std::vector<double>& centre, double scale) const {
  constexpr double q = kRounding<T>;
  const double error = share_of_error(m.columns) + q, tiny = double(m.columns + 1) * 0x1p-120;  // what underflow loses
  Side s{std::make_unique_for_overwrite<char[]>(m.values.size() * sizeof(T)), std::vector<float>(size_t(m.rows)),
         std::vector<float>(size_t(m.rows))};
#pragma omp parallel for
  for (int64_t i = 0; i < m.rows; ++i) {
    T* const values = reinterpret_cast<T*>(s.values.get()) + i * m.columns;
    const double* row = m.row(i);
    double square = 0, lost = 0;
#pragma omp simd reduction(+ : square, lost)
    for (int64_t j = 0; j < m.columns; ++j) {
      const double v = (row[j] - centre[size_t(j)]) * scale;
      const T rounded(static_cast<float>(v));
      const double r = v - static_cast<float>(rounded);
      values[j] = rounded;
      square += v * v;
      lost += r * r;
    }
    const double most = error * square + (1 + 1 / q) * lost + tiny;
    s.base[size_t(i)] = float(square - most);
    s.slack[size_t(i)] = float(2 * most);
  }
  return s;
}

void Distances::for_parts(const std::function<void(const Part&)>& f) const {
  const auto tile = std::make_unique_for_overwrite<float[]>(size_t(kRows * kColumns));
  const int64_t n = a_.columns;
  for (int64_t row = 0; row < a_.rows; row += kRows)
    for (int64_t column = of_one_ ? row : 0; column < b_.rows; column += kColumns) {
      const int64_t rows = std::min(kRows, a_.rows - row), columns = std::min(kColumns, b_.rows - column);
      kernels::gemm({},
                    {.batch = 1,
                     .M = rows,
                     .N = columns,
                     .K = n,
                     .trans_a = false,
                     .trans_b = true,
                     .share_a = false,
                     .share_b = false,
                     .alpha = -2,
                     .type = type_,
                     .y_type = DType::f32},
                    tile.get(), x_.row(row, n, type_), y().row(column, n, type_));
#pragma omp parallel
      {
#pragma omp for schedule(dynamic, kBand)
        for (int64_t i = 0; i < rows; ++i) {
          float* const least = tile.get() + i * columns;
          const float base = x_.base[size_t(row + i)], *other = y().base.data() + column;
          for (int64_t j = 0; j < columns; ++j) least[j] += base + other[j];
          if (of_one_ && row == column) least[i] = INFINITY;
          f({row + i, column, {least, size_t(columns)}});
        }
        if (of_one_) {
          const int64_t stride = rows + kBand;  // not a power of 2, which the cache has few places for
          std::vector<float> turned(size_t(kBand * stride));
#pragma omp for schedule(dynamic)
          for (int64_t j = row == column ? rows : 0; j < columns; j += kBand) {  // rows have met one another
            const int64_t band = std::min(kBand, columns - j);
            for (int64_t i = 0; i < rows; ++i)
              for (int64_t l = 0; l < band; ++l) turned[size_t(l * stride + i)] = tile[size_t(i * columns + j + l)];
            for (int64_t l = 0; l < band; ++l) f({column + j + l, row, {turned.data() + l * stride, size_t(rows)}});
          }
        }
      }
    }
}

}  // namespace firn
