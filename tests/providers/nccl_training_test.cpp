// Training of several processes whose GPUs send each other images and gradients by NCCL.
#include "tests/providers/nccl_support.h"
#include "tests/training/training_support.h"

namespace firn::providers {
namespace {

struct NcclTraining : Nccl {};

TEST_F(NcclTraining, ImagesComeFromWhoKeepsThem) {
  constexpr int64_t count = 7, image = 2 * 2 * 3;
  const Shape shape{4, 2, 2, 3};
  const std::vector<int32_t> items = {13, 0, 6, 9};  // from 7 on mirrored
  std::vector<uint8_t> pixels(count * image);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = uint8_t(3 * i + 1);
  ResidentImages whole(shape, count, DType::f32, Device::cpu());
  whole.store(0, pixels);
  Tensor numbers = Tensor::empty({4}, DType::i32, Device::cpu());
  numbers.put(items);
  const std::vector<double> expected = whole.put(numbers).to_doubles();
  for (const std::vector<Leaves>& rows :
       {std::vector<Leaves>{{0, 1}, {1, 4}}, {{0, 4}, {0, 4}}, {{0, 1}, {1, 2}, {2, 4}}}) {
    nccl() = {};
    take_turns(
        int(rows.size()),
        [&](Communicator& processes, bool last) {
          ShardedImages images(shape, count, DType::f32, Device::cuda(), processes);
          const Leaves own = images.own(), mine = rows[size_t(processes.rank())];
          images.store(own.first, std::span(pixels).subspan(size_t(own.first * image), size_t(own.count() * image)));
          EXPECT_MENTIONS(message_of<ShapeError>([&] { images.store(own.last, std::span(pixels).first(image)); }),
                          "are not of images");
          const std::vector<double> found = images.put(items, rows).to_doubles();
          for (int64_t i = mine.first * image; last && i < mine.last * image; ++i)
            ASSERT_EQ(found[size_t(i)], expected[size_t(i)]) << i;
          EXPECT_EQ(nccl().count("ncclGroupStart"), 1);
        },
        2);
  }
}

TrainOptions small_options(bool deterministic) {
  TrainOptions o = tiny_options({});
  model_of(o).channel_max = 4;
  o.batch = 4;
  o.batch_gpu = 2;
  o.deterministic = deterministic;
  return o;
}

// A run of a phase in two parts, and what its result holds.
struct PhaseRun {
  Values results;
  int64_t bytes = 0;
  PhaseRun(const char* phase, Communicator& processes, bool frozen = false) {
    Subject s(small_options(true), Device::cuda());
    if (frozen) s.d().parameters()("b4.*").freeze();
    Rng rng{.seed = 5};
    const auto draw = [&](const Shape& shape) {
      return Tensor::from(randn(shape, rng, DType::f32, Device::cpu()).to_doubles(), shape, DType::f32,
                          s.state.device());
    };
    const Inputs in = batch_of({{"z", draw({4, 8})}, {"images", draw({4, 8, 8, 3})}});
    s.phase(phase).at_once = 2;
    const PhaseResult r = run_phase(s.phase(phase), s.state, in, nullptr, processes);
    results = values(r.gradients);
    bytes = bytes_of(r.gradients);
    for (const Term& term : r.report) {
      results.push_back(term.value.to_doubles());
      bytes += bytes_of({term.value});
    }
    for (const Tensor& t : running_values(s.state)) add(t);
  }

 private:
  void add(const Tensor& t) {
    results.push_back(t.to_doubles());
    bytes += bytes_of({t});
  }
};

TEST_F(NcclTraining, APhaseOfTwoProcessesMakesTheBitsOfOneAndSendsNothingFrozen) {
  for (const char* phase : {"Gmain", "Dmain"})
    for (const bool frozen : {false, true}) {
      if (frozen && *phase == 'G') continue;
      nccl() = {};
      const PhaseRun expected(phase, alone(), frozen);
      int64_t sent = 0;
      take_turns(2, [&](Communicator& processes, bool last) {
        const PhaseRun found(phase, processes, frozen);
        if (last) {
          EXPECT_EQ(found.results, expected.results) << phase;
        }
        sent += last ? processes.bytes_sent() : 0;
      });
      EXPECT_EQ(sent, 2 * expected.bytes) << "of both, who send each other half of theirs, twice";
      if (frozen) {
        EXPECT_LT(expected.bytes, PhaseRun(phase, alone()).bytes);
      }
    }
}

TEST_F(NcclTraining, PhasesAreRecordedAndReplayedWithWhatTheySend) {
  for (const bool deterministic : {true, false}) {
    const TrainOptions options = small_options(deterministic);
    TrainState state(options, Device::cuda());
    Reals reals(options, state);
    const auto processes = begin_turn(0, 2);
    {
      Iteration iteration(options, state, nullptr, reals, *processes);
      const std::string call = deterministic ? "ncclSend" : "ncclAllReduce";
      const auto moved = [&] { return deterministic ? nccl().sent[{0, 1}].size() : nccl().summands[0].size(); };
      for (size_t i = 0; i < iteration.phases().size(); ++i) {
        if (iteration.phases()[i].interval == 0) continue;
        int64_t before = processes->bytes_sent(), each = 0;
        size_t messages = 0;
        for (const char* run : {"chooses", "notes", "records", "replays", "replays again"}) {
          nccl().calls.clear();
          const size_t had = moved();
          iteration.run_phase(i, 1);
          ASSERT_EQ(ptx::finish(), cudaSuccess);
          const bool calls = std::string(run).find("replays") != 0;
          EXPECT_EQ(nccl().count(call) > 0, calls) << run;
          EXPECT_EQ(nccl().count("ncclCommInitRank"), i == 0 && run == std::string("chooses")) << run;
          for (const NcclCall& c : nccl().calls) {
            EXPECT_EQ(c.captured, run == std::string("records")) << c.name << " where it " << run;
            if (c.data) {
              EXPECT_TRUE(is_second(c.stream)) << c.name;
            }
          }
          if (each == 0) each = processes->bytes_sent() - before, messages = moved() - had;
          EXPECT_GT(each, 0);
          EXPECT_EQ(processes->bytes_sent() - before, each) << run;
          EXPECT_EQ(moved() - had, messages) << run;
          before = processes->bytes_sent();
        }
      }
    }
    EXPECT_GT(nccl().questions, 0);
  }
}

// As NCCL wants it. In memory that all have alike, so that they record again together, too.
TEST_F(NcclTraining, AllProcessesRecordAPhaseOrNone) {
  for (const bool refused : {false, true}) {
    const size_t most = 4 << 20;  // memory of the other one's phases
    int recorded = 0;
    Control::others = [&](const std::string& mine) {
      if (!mine.empty()) return std::to_string(most);
      ++recorded;
      return std::string(refused ? "CUDA makes no graph: out of memory" : "");
    };
    const TrainOptions options = small_options(true);
    TrainState state(options, Device::cuda());
    Reals reals(options, state);
    const auto processes = begin_turn(0, 2);
    Iteration iteration(options, state, nullptr, reals, *processes);
    stand_in().allocated.clear();
    testing::internal::CaptureStderr();
    for (int run = 0; run < 4; ++run) iteration.run_phase(0, 1);
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_EQ(std::ranges::count(stand_in().allocated, most), 1);
    EXPECT_EQ(recorded, 1);
    EXPECT_EQ(said.find("out of memory; a phase of training runs without one") != said.npos, refused) << said;
    nccl().calls.clear();
    iteration.run_phase(0, 1);
    EXPECT_EQ(nccl().count("ncclSend") > 0, refused);
    for (const NcclCall& call : nccl().calls) EXPECT_FALSE(call.captured);
  }
}

}  // namespace
}  // namespace firn::providers
