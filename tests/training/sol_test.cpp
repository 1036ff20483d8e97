// FLOPs as they are noted, and the machine's limits that they are held against.
#include <nlohmann/json.hpp>

#include "engine/ops.h"
#include "engine/threads.h"
#include "kernels/device/cpu_limits.h"
#include "tests/training/training_support.h"

namespace firn {
namespace {

// Whoever notes one number does what the direct algorithm would; Winograd's F(4x4,3x3) notes a fourth beside it.
TEST(Flops, DoneIsToldApartFromDirect) {
  const LaunchCounter outer;
  note_flops(100);
  {
    const LaunchCounter inner;
    note_flops(400, 100);
    EXPECT_EQ(inner.flops(), 400);
    EXPECT_EQ(inner.done(), 100);
  }
  EXPECT_EQ(outer.flops(), 500);
  EXPECT_EQ(outer.done(), 200);
}

TEST(Flops, OfAConvolutionAreTwoForEachWeightAndPixel) {
  Rng rng{.seed = 1};
  const Tensor x = randn({2, 6, 6, 5}, rng, DType::f32, Device::cpu()),
               w = randn({7, 3, 3, 5}, rng, DType::f32, Device::cpu());
  const LaunchCounter counter;
  conv2d(x, w, {.pad = 1});
  EXPECT_EQ(counter.flops(), 2.0 * (2 * 6 * 6) * (7 * 3 * 3 * 5));
  EXPECT_LE(counter.done(), counter.flops());
}

TEST(Flops, MicroBatchesAddUpToTheWholeBatch) {
  const Scratch scratch;
  TrainOptions o = tiny_options(write_images(scratch / "data", 8));
  const auto flops = [&](int at_once) {
    o.batch_gpu = at_once;
    TinyRun run(o, scratch / "run");
    const LaunchCounter counter;
    run.iterate(1);
    EXPECT_GT(counter.done(), 0);
    EXPECT_LE(counter.done(), counter.flops());
    return counter.flops();
  };
  EXPECT_EQ(flops(2), flops(4));
}

TEST(CpuLimits, AreMeasuredOnceForEachNumberOfThreads) {
  const kernels::CpuLimits& limits = kernels::cpu_limits();
  EXPECT_GT(limits.fma, 1e8);
  EXPECT_GT(limits.bytes, 1e7);
  EXPECT_EQ(limits.flops(DType::f32), limits.fma);
  EXPECT_EQ(limits.flops(DType::bf16), std::max(limits.fma, limits.product));
  EXPECT_EQ(&kernels::cpu_limits(), &limits);
  const int before = threads();
  set_threads(before + 1);
  EXPECT_NE(&kernels::cpu_limits(), &limits);
  set_threads(before);
}

TEST(TickLine, TellsTheShareOfTheLimit) {
  const Scratch scratch;
  const TrainOptions o = tiny_options(write_images(scratch / "data", 8));
  TinyRun run(o, scratch / "run");
  Reals reals(o, run.state, run.data, {.plan = run.plan()});
  Iteration iteration(o, run.state, run.data.get(), reals);
  TickClock clock{.total = 2, .tick = 2, .images = 8, .flops = {.direct = 1600, .done = 400}, .limit = 1000};
  const Stats stats = tick_stats(run.state, iteration, clock);
  EXPECT_EQ(mean_of(stats, "Resources/sol"), 0.2);
  EXPECT_EQ(mean_of(stats, "Resources/sol_direct"), 0.8);
  EXPECT_MENTIONS(tick_line(stats, o), "  sol 0.20 (direct 0.80)  ms");
  clock.limit = 0;
  EXPECT_EQ(tick_line(tick_stats(run.state, iteration, clock), o).find("sol"), std::string::npos);
}

// The first tick is one iteration, whose FLOPs are known.
TEST(TickLine, OfARunCountsWhatItsIterationsDid) {
  const Scratch scratch;
  const TrainOptions o = tiny_options(write_images(scratch / "data", 8));
  TinyRun alone(o, scratch / "alone"), run(o, scratch / "run");
  const LaunchCounter counter;
  alone.iterate(1);
  const double flops = counter.flops();
  run.run();
  std::istringstream lines(read_text(run.dir / "stats.jsonl"));
  std::string line;
  std::getline(lines, line);
  const nlohmann::json tick = nlohmann::json::parse(line);
  const auto value = [&](const char* name) { return tick[name]["mean"].get<double>(); };
  EXPECT_NEAR(value("Resources/sol_direct") * value("Timing/sec_per_tick") * kernels::cpu_limits().fma, flops,
              1e-9 * flops);
  EXPECT_LE(value("Resources/sol"), value("Resources/sol_direct"));
}

}  // namespace
}  // namespace firn
