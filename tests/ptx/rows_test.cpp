// Rows of the instruction table against closed forms, and what the checker says of copies that are not waited for.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>

#include "kernels/core/cuda_check.h"
#include "kernels/core/types.h"
#include "kernels/device/memory.h"
#include "tests/io/io_support.h"
#include "tests/kernels/modulated_conv_check.h"
#include "tests/ptx/executor.h"
#include "tests/ptx/reductions.h"
#include "tests/ptx/rows.h"
#include "tests/ptx/runtime.h"
#include "tests/ptx/sums.h"

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

// Products of bf16 are exact in float. Nine numbers at a time lose what is below 2^-24 of the largest, and their sum
// what is below a float's last bit.
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
        double sum = 0, sizes = 0;
        for (size_t k = 0; k < 16; ++k) {
          const double product = double(value(a[m * 16 + k])) * value(b[k * 8 + n]);
          sum += product;
          sizes += std::abs(product);
        }
        EXPECT_NEAR(result[m * 8 + n], sum, (2 * 9 * 0x1p-24 + 0x1p-23) * sizes) << m << ' ' << n;
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
       {"bar.sync 16, 64;", "bar.sync 1;", "mbarrier.test_wait.shared::cta.b64 %f1, [%f1], %f1;",
        "cp.async.bulk.tensor.2d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes "
        "[%f1],[%f1,{%f1,%f1}],[%f1];",
        "setmaxnreg.inc.sync.aligned.u32 20;",
        "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%f1,%f1,%f1,%f1},{%f1},{%f1},{%f1};",
        "cp.async.cg.shared.global [%f1], [%f1], 8;", "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%f1,%f2}, [%f3];",
        "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f1,%f1,%f1,%f1}, %f1, %f1, %f1, 1, 1, 0, 0;"})
    EXPECT_THROW(parse(std::string(".entry f()\n{\n.reg .b32 %f<9>;\n") + line + "\nret;\n}\n"), Error) << line;
  EXPECT_NO_THROW(parse(".entry f()\n{\nbar.sync 0;\nret;\n}\n"));
}

// What the checker says of a block of so many threads.
std::string findings_of(const std::string& bounds, const std::string& body, uint32_t threads) {
  const auto module = parse(".entry f()\n" + bounds + "\n{\n" + body + "\nret;\n}\n");
  Checker checker;
  execute(*module, module->functions.at("f"), {{}, {threads}, 0, {}}, checker);
  std::string all;
  for (const std::string& f : checker.take_findings()) all += f + '\n';
  return all;
}

TEST(PtxRows, RegistersComeFromTheBlock) {
  const std::string more = "setmaxnreg.inc.sync.aligned.u32 ", fewer = "setmaxnreg.dec.sync.aligned.u32 ";
  const std::string bounds = ".maxntid 384, 1, 1\n.minnctapersm 1";  // 168 a thread
  EXPECT_EQ(findings_of(bounds, fewer + "24;\n" + more + "168;", 384), "");
  EXPECT_EQ(findings_of(bounds, more + "168;\n" + fewer + "168;", 384), "");
  EXPECT_MENTIONS(findings_of(bounds, more + "176;", 384), "fewer registers than its warps ask for");
  EXPECT_MENTIONS(findings_of(bounds, fewer + "24;\n" + more + "176;", 384), "fewer registers than its warps ask for");
  EXPECT_MENTIONS(findings_of(bounds, more + "160;", 384), "it has more already, or fewer");
  EXPECT_MENTIONS(findings_of(bounds, fewer + "176;", 384), "it has more already, or fewer");
  EXPECT_MENTIONS(findings_of("", fewer + "24;", 128), "a kernel without launch bounds");
  EXPECT_MENTIONS(findings_of(bounds, fewer + "24;", 64), "the block has no four warps for it");
  EXPECT_MENTIONS(findings_of(bounds,
                              ".reg .pred %p<2>;\n.reg .b32 %r<2>;\nmov.u32 %r1, %tid.x;\nsetp.lt.u32 %p1, %r1, 32;\n"
                              "@%p1 bra $L;\n" +
                                  fewer + "24;\n$L:",
                              128),
                  "warpgroup: its warps part ways");
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

// With the barriers of any one reduction left out, what one thread still reads another writes.
TEST(PtxRows, ATeamReducesAnyNumberOfTimes) {
  constexpr size_t kRounds = 5, kThreads = 256;
  std::vector<float> v(kRounds * kThreads);
  std::mt19937 random(3);
  for (float& x : v) x = float(int(random() % 2001) - 1000);
  v[3 * kThreads + 100] = NAN;
  DeviceArray<float> x(v), maxima(v.size());
  DeviceArray<double> sums(v.size());
  DeviceArray<int64_t> where(v.size());
  const auto reduce = [&] {
    run_cuda(kernels::cuda_stream(0), Reductions{maxima.data(), sums.data(), where.data(), x.data(), int(kRounds)});
    return ended();
  };
  check(reduce());
  EXPECT_TRUE(take_findings().empty());
  const auto most = maxima.host();
  const auto sum = sums.host();
  const auto places = where.host();
  for (size_t r = 0; r < kRounds; ++r) {
    const auto row = v.begin() + std::ptrdiff_t(r * kThreads), end = row + kThreads;
    const float largest = *std::max_element(row, end);
    double expected = -double(*std::min_element(row, end));
    int64_t place = 0;
    for (auto i = row; i < end; ++i) expected += 2 * double(*i), place += *i == largest ? i - row : 0;
    for (size_t i = r * kThreads; i < (r + 1) * kThreads; ++i) {
      if (r == 3) {
        EXPECT_TRUE(std::isnan(most[i]) && std::isnan(sum[i])) << i;
        continue;
      }
      EXPECT_EQ(most[i], largest) << i;
      EXPECT_EQ(sum[i], expected) << i;
      EXPECT_EQ(places[i], place) << i;
    }
  }
  int barriers = 0;
  for (const Kernel& kernel : kernels()) {
    if (kernel.name.find("Reductions") == kernel.name.npos) continue;
    for (int i = kernel.function->first; i < kernel.function->last; ++i) {
      Instruction& in = kernel.module->code[size_t(i)];
      if (!in.mnemonic.starts_with("bar")) continue;
      ++barriers;
      Instruction without = in;
      without.flow = Instruction::Flow::next;
      without.step = [](Warp&, uint32_t) {};
      std::swap(in, without);
      EXPECT_NE(reduce(), cudaSuccess) << i;
      std::swap(in, without);
      const auto findings = take_findings();
      ASSERT_FALSE(findings.empty()) << i;
      EXPECT_MENTIONS(findings[0], "race");
    }
  }
  EXPECT_GE(barriers, 5);
}

// Element c of row r is in chunk (c / 8) ^ (r % 8) of the row, and zero outside the tensor.
TEST(PtxRows, BoxesAreSwizzledAndFilledWithZeros) {
  const int C = 128, W = 6, H = 5, N = 3;
  std::vector<uint16_t> v(size_t(C * W * H * N));
  for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<uint16_t>(i + 1);
  DeviceArray<uint16_t> x(v), y(128 * 64);
  const auto map = kernels::tensor_map(reinterpret_cast<const bf16*>(x.data()), {C, W, H, N}, {64, 8, 8, 2});
  for (const auto& first : {std::array{0, 0, 0, 0}, {64, -1, -1, 1}, {8, 3, 2, -1}, {120, 1, -9, 0}, {3, 1, 1, 2}}) {
    const int at[4] = {first[0], first[1], first[2], first[3]};
    check(copied_box(y.data(), map, at));
    const auto result = y.host();
    for (int r = 0; r < 128; ++r)
      for (int i = 0; i < 64; ++i) {
        const int c = at[0] + i, w = at[1] + r % 8, h = at[2] + r / 8 % 8, n = at[3] + r / 64;
        const bool inside = c < C && w >= 0 && w < W && h >= 0 && h < H && n >= 0 && n < N;
        const uint16_t expected = inside ? v[size_t(((n * H + h) * W + w) * C + c)] : uint16_t{0};
        ASSERT_EQ(result[size_t(r * 64 + (i / 8 ^ r % 8) * 8 + i % 8)], expected) << r << ' ' << i;
      }
  }
}

TEST(PtxRows, TensorMapsThatTheDriverRefuses) {
  DeviceArray<uint16_t> x(4096);
  const auto* const data = reinterpret_cast<const bf16*>(x.data());
  EXPECT_NO_THROW(kernels::tensor_map(data, {64, 64}, {64, 64}));
  EXPECT_THROW(kernels::tensor_map(data + 4, {64, 60}, {64, 64}), DeviceError);  // 16 bytes
  EXPECT_THROW(kernels::tensor_map(data, {60, 64}, {64, 64}), DeviceError);      // rows, too
  EXPECT_THROW(kernels::tensor_map(data, {64, 64}, {64, 257}), DeviceError);
  EXPECT_THROW(kernels::tensor_map(data, {64, 64}, {72, 64}), DeviceError);  // 128 bytes
  EXPECT_THROW(kernels::tensor_map(data, {64, 0}, {64, 64}), DeviceError);
}

// c + sum of a[k] b[k] as one instruction adds it, with all products alike.
template <Unit unit>
float sum_of_equal(float c, float a, float b) {
  std::array<Factor, 16> x, y;
  x.fill(bf16(a)), y.fill(bf16(b));
  return add_products<unit>(c, x.data(), y.data());
}

TEST(PtxRows, TensorCoresCutOffWhatDoesNotLineUp) {
  EXPECT_EQ(sum_of_equal<kMma>(1, 0x1p-12f, 0x1p-12f), 1 + 0x1p-20f) << "2^-24 of the largest is kept";
  EXPECT_EQ(sum_of_equal<kMma>(1, 0x1p-12f, 0x1p-13f), 1) << "and half of it not, though there are sixteen";
  EXPECT_EQ(sum_of_equal<kWgmma>(1, 0x1p-12f, 0x1p-13f), 1 + 0x1p-21f);
  EXPECT_EQ(sum_of_equal<kWgmma>(1, 0x1p-13f, 0x1p-13f), 1);
  EXPECT_EQ(sum_of_equal<kMma>(-1, -0x1p-12f, 0x1p-13f), -1) << "towards zero";
  EXPECT_EQ(sum_of_equal<kMma>(0, 3, -5), -240);
  EXPECT_EQ(sum_of_equal<kMma>(0x1p24f - 16, 1, 1), 0x1p24f) << "integers stay exact";
  EXPECT_EQ(sum_of_equal<kMma>(0, 0, 1), 0);
  EXPECT_TRUE(std::isnan(sum_of_equal<kWgmma>(0, INFINITY, 0)));
  EXPECT_EQ(sum_of_equal<kWgmma>(1, INFINITY, -1), -INFINITY);
}

// The longest sum of a layer, 512 channels of 3x3, of one sign: every step cuts off. What tests allow must allow this.
TEST(PtxRows, LongSumsLoseUpToAHundredThousandth) {
  std::mt19937 random(9);
  std::uniform_real_distribution<float> uniform(0, 1);
  const auto lost = [&]<Unit unit>(std::integral_constant<Unit, unit>) {
    float sum = 0;
    double exact = 0;
    for (int step = 0; step < 4608 / 16; ++step) {
      std::array<Factor, 16> x, y;
      for (size_t k = 0; k < 16; ++k) {
        x[k] = bf16(uniform(random)), y[k] = bf16(uniform(random));
        exact += double(x[k].value) * y[k].value;
      }
      sum = add_products<unit>(sum, x.data(), y.data());
    }
    return (exact - sum) / exact;
  };
  for (const double part : {lost(std::integral_constant<Unit, kMma>()), lost(std::integral_constant<Unit, kWgmma>())}) {
    EXPECT_GT(part, 2e-6);
    EXPECT_LT(part, 2 * tests::sum_error(4608));
    EXPECT_GT(tests::sum_error(4608), 1e-5);
  }
}

// Small integers: exact in every order.
struct WarpgroupOperands {
  explicit WarpgroupOperands(int N) : a(64 * 64), b(size_t(N) * 64) {
    std::mt19937 random(7);
    for (auto* v : {&a, &b})
      for (uint16_t& x : *v) x = bf16(float(int(random() % 17) - 8)).bits;
  }
  std::vector<uint16_t> a, b;
};

// What the checker says of a product of a warpgroup, an empty string where it is right.
std::string warpgroup_findings(int N, Writes writes = Writes::never, int more_bytes = 0) {
  const WarpgroupOperands operands(N);
  DeviceArray<uint16_t> a(operands.a), b(operands.b);
  DeviceArray<float> d(size_t(64 * N));
  const auto map = [](DeviceArray<uint16_t>& x, int rows) {
    return kernels::tensor_map(reinterpret_cast<const bf16*>(x.data()), {64, rows}, {64, rows});
  };
  const cudaError_t status =
      product_of_warpgroup(d.data(), map(a, 64), map(b, N), N, (64 + N) * 128 + more_bytes, writes);
  std::string all;
  for (const std::string& f : take_findings()) all += f + '\n';
  EXPECT_EQ(status == cudaSuccess, all.empty());
  if (status != cudaSuccess) return all;
  const auto result = d.host();
  for (size_t m = 0; m < 64; ++m)
    for (size_t n = 0; n < size_t(N); ++n) {
      float sum = 0;
      for (size_t k = 0; k < 64; ++k) sum += value(operands.a[m * 64 + k]) * value(operands.b[n * 64 + k]);
      EXPECT_EQ(result[m * size_t(N) + n], sum) << m << ' ' << n;
    }
  return {};
}

TEST(PtxRows, ProductOfAWarpgroup) {
  for (const int N : {64, 128, 256}) EXPECT_EQ(warpgroup_findings(N), "");
}

TEST(PtxRows, WhatAWarpgroupMustNotLeaveOut) {
  const std::pair<const char*, const char*> faults[] = {
      {"mbarrier.init", "mbarrier: there is none at this address"},
      {"fence.mbarrier_init", "bulk copy: no fence since its mbarrier was initialised"},
      {"mbarrier.arrive.expect_tx", "deadlock"},
      {"cp.async.bulk", "deadlock"},
      {"bar.sync", "race: read beside a write"},
      {"mbarrier.try_wait", "read before cp.async has arrived"},
      {"wgmma.fence", "wgmma: no wgmma.fence between a register's write and its use"},
      {"wgmma.commit_group", "wgmma: a sum is read before wait_group"},
      {"wgmma.wait_group", "wgmma: a sum is read before wait_group"}};
  for (const Kernel& kernel : kernels())
    for (const auto& [mnemonic, finding] : faults) {
      if (kernel.name.find("product<64>") == kernel.name.npos) continue;
      const auto begin = kernel.module->code.begin();
      const auto in = std::find_if(begin + kernel.function->first, begin + kernel.function->last,
                                   [&](const Instruction& i) { return i.mnemonic.starts_with(mnemonic); });
      ASSERT_NE(in, begin + kernel.function->last) << mnemonic;
      Instruction without = *in;
      without.flow = Instruction::Flow::next;
      without.step = [](Warp&, uint32_t) {};
      std::swap(*in, without);
      const std::string found = warpgroup_findings(64);
      std::swap(*in, without);
      EXPECT_NE(found.find(finding), found.npos) << "without " << mnemonic << ": " << found;
      if (!in->mnemonic.starts_with("wgmma.fence")) continue;
      const auto product = std::find_if(in, begin + kernel.function->last,
                                        [](const Instruction& i) { return i.mnemonic.starts_with("wgmma.mma"); });
      Instruction apart = *product;
      apart.step = [step = product->step, other = std::next(product)->step](Warp& w, uint32_t lanes) {
        (w.actor(0).thread / 32 == 3 ? other : step)(w, lanes);
      };
      std::swap(*product, apart);
      EXPECT_MENTIONS(warpgroup_findings(64), "warpgroup: its warps part ways");
      std::swap(*product, apart);
    }
  const auto finds = [](const char* finding, Writes writes, int more_bytes = 0) {
    return warpgroup_findings(64, writes, more_bytes).find(finding) != std::string::npos;
  };
  EXPECT_TRUE(finds("deadlock", Writes::never, 16));
  EXPECT_TRUE(finds("mbarrier: more bytes come than were announced", Writes::never, -16));
  for (const Writes writes : {Writes::before, Writes::before_barrier_fence})
    EXPECT_TRUE(finds("no fence.proxy.async between a write and an asynchronous read", writes));
  EXPECT_EQ(warpgroup_findings(64, Writes::before_fence), "");
  EXPECT_TRUE(finds("write to what a wgmma still reads", Writes::within));
}

}  // namespace
}  // namespace firn::ptx
