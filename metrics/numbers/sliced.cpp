#include "metrics/numbers/sliced.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "metrics/numbers/threads.h"

namespace firn {
namespace {

Matrix directions(int64_t count, int64_t columns, std::mt19937_64& random) {
  Matrix m(count, columns);
  m.values = normals(m.rows * columns, random);
#pragma omp parallel for
  for (int64_t i = 0; i < count; ++i) {
    double square = 0;
    for (int64_t j = 0; j < columns; ++j) square += m(i, j) * m(i, j);
    for (int64_t j = 0; j < columns; ++j) m(i, j) /= std::sqrt(square);
  }
  return m;
}

// By digits, the lowest first, of bits that are in the order of the numbers: several times as fast as by comparing.
class Sorter {
 public:
  explicit Sorter(int64_t count) : keys_(size_t(count)), others_(size_t(count)) {}

  void operator()(double* values) {
    for (auto& counts : places_) counts.fill(0);
    for (size_t i = 0; i < keys_.size(); ++i) {
      const auto bits = std::bit_cast<uint64_t>(values[i]);
      keys_[i] = bits ^ (uint64_t(int64_t(bits) >> 63) | kSign);
      for (int d = 0; d < kDigits; ++d) ++places_[d][digit(keys_[i], d)];
    }
    for (int d = 0; d < kDigits; ++d) {
      if (places_[d][digit(keys_[0], d)] == keys_.size()) continue;  // the same in all
      std::exclusive_scan(places_[d].begin(), places_[d].end(), places_[d].begin(), uint32_t{0});
      for (const uint64_t key : keys_) others_[places_[d][digit(key, d)]++] = key;
      keys_.swap(others_);
    }
    for (size_t i = 0; i < keys_.size(); ++i)
      values[i] = std::bit_cast<double>(keys_[i] ^ (keys_[i] & kSign ? kSign : ~uint64_t{0}));
  }

 private:
  static constexpr int kBits = 11, kDigits = 6;
  static constexpr uint64_t kSign = uint64_t{1} << 63;
  static size_t digit(uint64_t key, int d) { return key >> (d * kBits) & ((1 << kBits) - 1); }

  std::vector<uint64_t> keys_, others_;
  std::array<std::array<uint32_t, 1 << kBits>, kDigits> places_;
};

}  // namespace

SlicedDistance sliced_distance(const Matrix& a, const Matrix& b, Sliced options) {
  const int64_t count = std::min(a.rows, b.rows);
  if (count < 1) throw Error("a sliced distance needs an image on both sides");
  check_columns(a, b);
  // Directions: many make products fast; fewer keep all threads busy, and fill less memory.
  const int64_t at_once = std::clamp<int64_t>((1 << 22) / count, 16, std::clamp(options.directions / 32, 16, 256));
  std::mt19937_64 random(options.seed);
  const Matrix onto = directions(options.directions, a.columns, random);
  Matrix fewer;
  const Matrix& x = a.rows > count ? fewer = drawn_rows(a, count, random) : a;
  const Matrix& y = b.rows > count ? fewer = drawn_rows(b, count, random) : b;
  std::vector<SlicedDistance> sums(size_t((onto.rows + at_once - 1) / at_once));
  for_each_on_threads(std::ssize(sums), [&](int64_t part) {
    const int64_t begin = part * at_once, end = std::min(begin + at_once, onto.rows);
    Sorter sort(count);
    std::vector<double> projections[2];
    for (const bool of_y : {false, true}) {
      projections[of_y].resize(size_t((end - begin) * count));
      double* const p = projections[of_y].data();
      product_of_rows({onto, begin, end}, {of_y ? y : x, 0, count}, p);
      for (int64_t i = 0; i < end - begin; ++i) sort(p + i * count);
    }
    SlicedDistance& sum = sums[size_t(part)];
    for (size_t i = 0; i < projections[0].size(); ++i) {
      const double difference = projections[0][i] - projections[1][i];
      sum.mean += std::abs(difference);
      sum.mean_square += difference * difference;
    }
  });
  SlicedDistance d;
  for (const SlicedDistance& s : sums) {
    d.mean += s.mean / double(onto.rows * count);
    d.mean_square += s.mean_square / double(onto.rows * count);
  }
  return d;
}

}  // namespace firn
