#include "metrics/numbers/matrix.h"

#include <cblas.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <type_traits>

#include "base/error.h"

// The library is loaded when something is measured, not linked: it starts threads as soon as it is there, which every
// other use of a tool would pay for, and which little memory does not allow.
extern "C" {
void dsyevd_(const char* vectors, const char* half, const int* n, double* a, const int* stride, double* values,
             double* work, const int* work_size, int* whole, const int* whole_size, int* info);
void dgesdd_(const char* vectors, const int* rows, const int* columns, double* a, const int* stride, double* values,
             double* u, const int* u_stride, double* v, const int* v_stride, double* work, const int* work_size,
             int* whole, int* info);
}

namespace firn {
namespace {

constexpr int64_t kTile = 256;  // rows

struct Library {
  decltype(&cblas_dgemm) gemm;
  decltype(&dsyevd_) eigen;
  decltype(&dgesdd_) singular;

  Library() {
    void* const file = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!file) throw Error(fmt::format("metrics need OpenBLAS: {}", dlerror()));
    const auto find = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(file, name));
      if (!function) throw Error(fmt::format("metrics need an OpenBLAS that has {}", name));
    };
    find(gemm, "cblas_dgemm");
    find(eigen, "dsyevd_");
    find(singular, "dgesdd_");
    decltype(&openblas_set_num_threads) threads;
    find(threads, "openblas_set_num_threads");
    threads(1);  // a call: how a product is shared out among several decides its rounding
  }
};
const Library& library() {
  static const Library loaded;
  return loaded;
}

// f(begin, end) for tiles of `rows`.
template <class F>
void for_tiles(int64_t rows, F f) {
  library();
#pragma omp parallel for schedule(dynamic)
  for (int64_t begin = 0; begin < rows; begin += kTile) f(begin, std::min(begin + kTile, rows));
}

void multiply(const Matrix& a, int64_t begin, int64_t end, const Matrix& b, double* to) {
  library().gemm(CblasRowMajor, CblasNoTrans, CblasTrans, int(end - begin), int(b.rows), int(a.columns), 1,
                 a.row(begin), int(a.columns), b.row(0), int(b.columns), 0, to, int(b.rows));
}

void check(const char* what, int info) {
  if (info != 0) throw Error(fmt::format("{} did not converge; are the features finite?", what));
}

}  // namespace

Matrix::Matrix(int64_t rows, int64_t columns, std::span<const float> from)
    : rows(rows), columns(columns), values(from.begin(), from.end()) {
  if (std::ssize(from) != rows * columns)
    throw ShapeError(fmt::format("{} numbers are no matrix of {}x{}", from.size(), rows, columns));
}

Matrix Matrix::slice(int64_t begin, int64_t end) const {
  Matrix part(end - begin, columns);
  std::copy(row(begin), row(end), part.values.begin());
  return part;
}

Matrix drawn_rows(const Matrix& a, int64_t count, std::mt19937_64& random) {
  if (count > a.rows) throw Error(fmt::format("{} of {} images cannot be drawn", count, a.rows));
  std::vector<int64_t> order(size_t(a.rows));
  std::iota(order.begin(), order.end(), 0);
  Matrix drawn(count, a.columns);
  for (int64_t i = 0; i < count; ++i) {
    std::swap(order[size_t(i)], order[size_t(i + int64_t(random() % uint64_t(a.rows - i)))]);
    std::copy_n(a.row(order[size_t(i)]), a.columns, drawn.values.begin() + i * a.columns);
  }
  return drawn;
}

std::vector<double> normals(int64_t count, std::mt19937_64& random) {  // Box and Muller
  std::vector<double> values(static_cast<size_t>(count));
  const auto uniform = [&] { return (double(random() >> 11) + 0.5) * 0x1p-53; };
  for (double& v : values) {
    const double radius = std::sqrt(-2 * std::log(uniform()));
    v = radius * std::cos(2 * std::numbers::pi * uniform());
  }
  return values;
}

Matrix product_of_rows(const Matrix& a, const Matrix& b) {
  if (a.columns != b.columns)
    throw ShapeError(fmt::format("features of {} and of {} numbers are of two networks", a.columns, b.columns));
  Matrix y(a.rows, b.rows);
  for_tiles(a.rows, [&](int64_t begin, int64_t end) { multiply(a, begin, end, b, y.values.data() + begin * b.rows); });
  return y;
}

std::vector<double> mean_of_rows(const Matrix& a) {
  std::vector<double> mean(size_t(a.columns));
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t j = 0; j < a.columns; ++j) mean[size_t(j)] += a(i, j);
  for (double& m : mean) m /= double(a.rows);
  return mean;
}

Matrix centred(const Matrix& a) {
  const std::vector<double> mean = mean_of_rows(a);
  Matrix y = a;
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t j = 0; j < a.columns; ++j) y(i, j) -= mean[size_t(j)];
  return y;
}

Matrix gram_of_columns(const Matrix& a) {
  Matrix y(a.columns, a.columns);
  for_tiles(a.columns, [&](int64_t begin, int64_t end) {
    library().gemm(CblasRowMajor, CblasTrans, CblasNoTrans, int(end - begin), int(a.columns), int(a.rows), 1,
                   a.values.data() + begin, int(a.columns), a.values.data(), int(a.columns), 0,
                   y.values.data() + begin * a.columns, int(a.columns));
  });
  return y;
}

Eigen eigen_of_symmetric(Matrix a, bool vectors) {
  if (a.rows != a.columns) throw ShapeError(fmt::format("a matrix of {}x{} is not symmetric", a.rows, a.columns));
  const int n = int(a.rows), ask = -1;
  const char* const job = vectors ? "V" : "N";
  Eigen e;
  e.values.resize(size_t(n));
  if (n == 0) return e;
  int info = 0, whole_size = 0;
  double size = 0;
  library().eigen(job, "U", &n, a.values.data(), &n, e.values.data(), &size, &ask, &whole_size, &ask, &info);
  std::vector<double> work(size_t(size) + 1);
  std::vector<int> whole(size_t(whole_size) + 1);
  const int work_size = int(work.size());
  whole_size = int(whole.size());
  library().eigen(job, "U", &n, a.values.data(), &n, e.values.data(), work.data(), &work_size, whole.data(),
                  &whole_size, &info);
  check("the eigenvalues", info);
  if (vectors) e.vectors = std::move(a);
  return e;
}

std::vector<double> singular_values(Matrix a) {
  const int rows = int(a.columns), columns = int(a.rows), ask = -1, one = 1;  // of the transpose: LAPACK has columns
  std::vector<double> values(size_t(std::min(rows, columns)));
  if (values.empty()) return values;
  std::vector<int> whole(8 * values.size());
  int info = 0;
  double size = 0;
  library().singular("N", &rows, &columns, a.values.data(), &rows, values.data(), nullptr, &one, nullptr, &one, &size,
                     &ask, whole.data(), &info);
  std::vector<double> work(size_t(size) + 1);
  const int work_size = int(work.size());
  library().singular("N", &rows, &columns, a.values.data(), &rows, values.data(), nullptr, &one, nullptr, &one,
                     work.data(), &work_size, whole.data(), &info);
  check("the singular values", info);
  return values;
}

void for_distances(const Matrix& a, const Matrix& b,
                   const std::function<void(int64_t first, const Matrix& squares)>& f) {
  if (a.columns != b.columns)
    throw ShapeError(fmt::format("features of {} and of {} numbers are of two networks", a.columns, b.columns));
  const auto lengths = [](const Matrix& m) {
    std::vector<double> sums(size_t(m.rows));
    for (int64_t i = 0; i < m.rows; ++i)
      for (int64_t j = 0; j < m.columns; ++j) sums[size_t(i)] += m(i, j) * m(i, j);
    return sums;
  };
  const std::vector<double> of_a = lengths(a), of_b = lengths(b);
  for_tiles(a.rows, [&](int64_t begin, int64_t end) {
    Matrix squares(end - begin, b.rows);
    multiply(a, begin, end, b, squares.values.data());
    for (int64_t i = begin; i < end; ++i)
      for (int64_t j = 0; j < b.rows; ++j) {
        double& d = squares(i - begin, j);
        d = std::max(0.0, of_a[size_t(i)] + of_b[size_t(j)] - 2 * d);
      }
    f(begin, squares);
  });
}

}  // namespace firn
