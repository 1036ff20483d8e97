// Rows of the instruction table against closed forms, and what the checker says of copies that are not waited for.
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>

#include "kernels/cuda_check.h"
#include "kernels/memory.h"
#include "kernels/types.h"
#include "tests/ptx/executor.h"
#include "tests/ptx/rows.h"
#include "tests/ptx/runtime.h"

namespace firn::ptx {
namespace {

// An array in the interpreter's memory.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::vector<T> v) : count_(v.size()) {
    data_ = static_cast<T*>(kernels::allocate(stream_, bytes()));
    kernels::copy_from_host(stream_, data_, v.data(), bytes());
  }
  explicit DeviceArray(size_t count) : DeviceArray(std::vector<T>(count)) {}
  ~DeviceArray() { kernels::release(stream_, data_, bytes()); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  T* data() { return data_; }
  std::vector<T> host() const {
    std::vector<T> v(count_);
    kernels::copy_to_host(stream_, v.data(), data_, bytes());
    return v;
  }

 private:
  size_t bytes() const { return count_ * sizeof(T); }
  Stream stream_ = kernels::cuda_stream(0);
  size_t count_;
  T* data_;
};

std::vector<uint16_t> random_bf16(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<uint16_t> v(count);
  for (uint16_t& x : v) x = bf16(normal(random)).bits;
  return v;
}
float value(uint16_t bits) { return float(std::bit_cast<bf16>(bits)); }

// Products of bf16 are exact in float, and the sum is rounded once.
TEST(PtxRows, ProductOf16x8x16) {
  const auto a = random_bf16(256, 1), b = random_bf16(128, 2);
  std::vector<uint16_t> transposed(128);
  for (size_t k = 0; k < 16; ++k)
    for (size_t n = 0; n < 8; ++n) transposed[n * 16 + k] = b[k * 8 + n];
  DeviceArray<uint16_t> left(a), right(b), columns(transposed);
  for (const bool rows : {true, false}) {
    DeviceArray<float> c(128);
    check(rows ? product_of_rows(c.data(), left.data(), columns.data())
               : product_of_columns(c.data(), left.data(), right.data()));
    const auto result = c.host();
    for (size_t m = 0; m < 16; ++m)
      for (size_t n = 0; n < 8; ++n) {
        double sum = 0;
        for (size_t k = 0; k < 16; ++k) sum += double(value(a[m * 16 + k])) * value(b[k * 8 + n]);
        EXPECT_EQ(result[m * 8 + n], float(sum)) << m << ' ' << n;
      }
  }
}

// Against a search of the nearest bf16 in long double, where the sum of a product and a bf16 of like size is exact.
uint16_t nearest(long double v) {
  const uint16_t first = bf16(float(v)).bits;
  uint16_t best = first;
  for (const int step : {-1, 1}) {
    const uint16_t other = static_cast<uint16_t>(first + step);
    const long double now = std::fabs(v - value(best)), then = std::fabs(v - value(other));
    if (then < now || (then == now && other % 2 == 0)) best = other;
  }
  return best;
}

TEST(PtxRows, PairsAreRoundedOnce) {
  // 1 + 2^-8 lies between two bf16; what is added far below decides.
  std::vector<uint16_t> a = random_bf16(2000, 3), b = random_bf16(2000, 4), c = random_bf16(2000, 5);
  for (size_t i = 0; i < 100; ++i) {
    a[i] = bf16(1 + 0x1p-4f).bits;
    b[i] = bf16(0x1p-4f).bits;  // a b = 2^-4 + 2^-8
    c[i] = bf16(i % 2 ? -1.0f : 1.0f).bits;
    if (i >= 50) a[i] = bf16(1.0f).bits, b[i] = bf16(i % 4 < 2 ? 0x1p-40f : -0x1p-40f).bits;
  }
  const auto words = [](const std::vector<uint16_t>& v) {
    std::vector<uint32_t> w(v.size() / 2);
    std::memcpy(w.data(), v.data(), v.size() * 2);
    return w;
  };
  DeviceArray<uint32_t> x(words(a)), y(words(b)), z(words(c)), r(2000);
  check(pairs(r.data(), x.data(), y.data(), z.data(), 1000));
  const auto result = r.host();
  for (size_t i = 0; i < 2000; ++i) {
    const auto half = [&](size_t word) { return static_cast<uint16_t>(result[word] >> (i % 2 * 16)); };
    const long double product = static_cast<long double>(value(a[i])) * value(b[i]);
    ASSERT_EQ(half(i / 2), nearest(product + value(c[i]))) << i;
    ASSERT_EQ(half(1000 + i / 2), nearest(product)) << i;
  }
}

// Runs one instruction that nvcc does not write for sm_80: y[i] = op(a[i], b[i]) for a warp.
std::vector<uint32_t> binary_row(const std::string& mnemonic, const std::vector<uint32_t>& a,
                                 const std::vector<uint32_t>& b) {
  const auto module = parse(
      ".visible .entry f(.param .u64 y, .param .u64 a, .param .u64 b)\n{\n"
      ".reg .b32 %r<9>;\n.reg .b64 %d<9>;\n"
      "mov.u32 %r1, %tid.x;\nmul.wide.u32 %d1, %r1, 4;\n"
      "ld.param.u64 %d2, [a];\nadd.s64 %d2, %d2, %d1;\nld.global.b32 %r2, [%d2];\n"
      "ld.param.u64 %d3, [b];\nadd.s64 %d3, %d3, %d1;\nld.global.b32 %r3, [%d3];\n" +
      mnemonic +
      " %r4, %r2, %r3;\n"
      "ld.param.u64 %d4, [y];\nadd.s64 %d4, %d4, %d1;\nst.global.b32 [%d4], %r4;\nret;\n}\n");
  Checker checker;
  const size_t bytes = a.size() * 4;
  void* memory[3];
  Launch launch{{}, {static_cast<uint32_t>(a.size())}, 0, {}};
  launch.parameters.resize(24);
  for (size_t i = 0; i < 3; ++i) {
    memory[i] = checker.allocate(bytes);
    std::memcpy(launch.parameters.data() + 8 * i, &memory[i], 8);
    if (i == 0) continue;
    checker.host_access(memory[i], bytes, Access::write);
    std::memcpy(memory[i], i == 1 ? a.data() : b.data(), bytes);
  }
  execute(*module, module->functions.at("f"), launch, checker);
  EXPECT_TRUE(checker.take_findings().empty());
  std::vector<uint32_t> y(a.size());
  std::memcpy(y.data(), memory[0], bytes);
  return y;
}

TEST(PtxRows, PairsOfLaterArchitectures) {
  std::vector<uint32_t> a(32), b(32);
  const auto values = random_bf16(128, 6);
  std::memcpy(a.data(), values.data(), 128);
  std::memcpy(b.data(), values.data() + 64, 128);
  const std::pair<const char*, long double (*)(long double, long double)> rows[] = {
      {"mul.bf16x2", [](long double x, long double y) { return x * y; }},
      {"add.rn.bf16x2", [](long double x, long double y) { return x + y; }},
      {"sub.bf16x2", [](long double x, long double y) { return x - y; }}};
  for (const auto& [mnemonic, f] : rows) {
    const auto y = binary_row(mnemonic, a, b);
    for (size_t i = 0; i < 64; ++i)
      EXPECT_EQ(static_cast<uint16_t>(y[i / 2] >> (i % 2 * 16)), nearest(f(value(values[i]), value(values[64 + i]))))
          << mnemonic << ' ' << i;
  }
}

// What the interpreter does not do it must not seem to do.
TEST(PtxRows, UnknownFormsAreErrors) {
  for (const char* line :
       {"bar.sync 1, 64;", "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%f1,%f1,%f1,%f1},{%f1},{%f1},{%f1};",
        "cp.async.cg.shared.global [%f1], [%f1], 8;", "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%f1,%f2}, [%f3];",
        "wgmma.fence.sync.aligned;"})
    EXPECT_THROW(parse(std::string(".entry f()\n{\n.reg .b32 %f<9>;\n") + line + "\nret;\n}\n"), Error) << line;
  EXPECT_NO_THROW(parse(".entry f()\n{\nbar.sync 0;\nret;\n}\n"));
}

TEST(PtxRows, CopiesFillUpWithZeros) {
  std::vector<uint8_t> bytes(32);
  for (size_t i = 0; i < 32; ++i) bytes[i] = static_cast<uint8_t>(i + 1);
  DeviceArray<uint8_t> x(bytes);
  for (const std::array<int, 3>& taken : {std::array{4, 8, 16}, {0, 0, 0}, {3, 5, 9}}) {
    DeviceArray<uint8_t> y(28);
    check(short_copies(y.data(), x.data(), taken[0], taken[1], taken[2]));
    const auto result = y.host();
    for (int i = 0; i < 28; ++i) {
      const int size = i < 4 ? 0 : i < 12 ? 1 : 2, begin[] = {0, 4, 12}, source[] = {0, 8, 16};
      const int at = i - begin[size];
      EXPECT_EQ(result[size_t(i)], at < taken[size_t(size)] ? source[size] + at + 1 : 0) << i;
    }
  }
}

TEST(PtxRows, CopiesArriveAtTheWaitAndForOthersAtTheBarrier) {
  std::vector<uint32_t> v(64);
  for (uint32_t i = 0; i < 64; ++i) v[i] = i + 100;
  const auto finding = [&](Without without) {
    DeviceArray<uint32_t> x(v), y(64);
    const cudaError_t status = copies(y.data(), x.data(), without);
    const auto findings = take_findings();
    EXPECT_EQ(status == cudaSuccess, findings.empty());
    if (status == cudaSuccess) {
      const auto result = y.host();
      for (uint32_t i = 0; i < 64; ++i) EXPECT_EQ(result[i], v[i ^ 32]);
    }
    std::string all;
    for (const std::string& f : findings) all += f + '\n';
    return all;
  };
  const auto finds = [&](Without without, const char* what) {
    return finding(without).find(what) != std::string::npos;
  };
  EXPECT_EQ(finding(Without::nothing), "");
  EXPECT_TRUE(finds(Without::wait, "read before cp.async has arrived"));
  EXPECT_TRUE(finds(Without::later_wait, "read before cp.async has arrived"));
  EXPECT_TRUE(finds(Without::barrier, "race: read beside a write"));
  EXPECT_TRUE(finds(Without::source, "cp.async: the source changes before it has arrived"));
}

TEST(PtxRows, VotesAndShuffles) {
  DeviceArray<uint32_t> y(96);
  check(votes(y.data()));
  const auto r = y.host();
  EXPECT_EQ(r[0], 0xaaaaaaaau);
  EXPECT_EQ(r[1], 0x7fffffffu);
  EXPECT_EQ(r[2], 1u);
  EXPECT_EQ(r[3], 1u);
  EXPECT_EQ(r[4], 0x1fu);
  for (uint32_t i = 0; i < 32; ++i) {
    EXPECT_EQ(r[32 + i], i / 8 * 64 + 28);
    EXPECT_EQ(r[64 + i], i % 16 < 3 ? i : i - 3);
  }
}

}  // namespace
}  // namespace firn::ptx
