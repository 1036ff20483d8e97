// Features of images as rows, in double, and the products and decompositions that measures need. Results are the same
// bits for any number of threads: each tile is one thread's.
#pragma once
#include <cstdint>
#include <functional>
#include <random>
#include <span>
#include <vector>

namespace firn {

struct Matrix {
  Matrix() = default;
  Matrix(int64_t rows, int64_t columns) : rows(rows), columns(columns), values(size_t(rows * columns)) {}
  Matrix(int64_t rows, int64_t columns, std::span<const float> from);  // ShapeError for another count

  double& operator()(int64_t i, int64_t j) { return values[size_t(i * columns + j)]; }
  double operator()(int64_t i, int64_t j) const { return values[size_t(i * columns + j)]; }
  const double* row(int64_t i) const { return values.data() + i * columns; }
  Matrix slice(int64_t begin, int64_t end) const;  // of rows

  int64_t rows = 0, columns = 0;
  std::vector<double> values;
};

// Numbers below `below`, drawn without replacement, in the order of the draw. The generator is standard, distributions
// are not: the same numbers everywhere. Error for more than there are.
std::vector<int64_t> drawn_numbers(int64_t below, int64_t count, std::mt19937_64& random);
Matrix rows_of(const Matrix& a, std::span<const int64_t> numbers);
inline Matrix drawn_rows(const Matrix& a, int64_t count, std::mt19937_64& random) {
  return rows_of(a, drawn_numbers(a.rows, count, random));
}
std::vector<double> normals(int64_t count, std::mt19937_64& random);  // N(0,1), the same everywhere

Matrix product_of_rows(const Matrix& a, const Matrix& b);  // a b^T [a.rows,b.rows]
// A tile of it, on one thread: to [a.end-a.begin,b.end-b.begin].
struct Rows {
  const Matrix& of;
  int64_t begin, end;
};
void product_of_rows(Rows a, Rows b, double* to);
void check_columns(const Matrix& a, const Matrix& b);  // ShapeError unless as many

std::vector<double> mean_of_rows(const Matrix& a);
Matrix centred(const Matrix& a, const std::vector<double>& mean);  // less the mean

// R of a = Q R where there are more rows than columns, which has the same products of columns; a otherwise.
Matrix triangle_of(Matrix a);
std::vector<double> singular_values(Matrix a);  // falling; Error where LAPACK gives up

// Eigenvalues of a^T a, falling, and the eigenvectors as rows, of length 1, the largest entry of each positive.
struct Eigen {
  std::vector<double> values;
  Matrix vectors;
};
Eigen eigen_of_products(Matrix a);

}  // namespace firn
