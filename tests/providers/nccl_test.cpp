// What GPUs of several processes send each other by NCCL: which calls, in which order, on which stream, and the sums
// that come of it. Processes take turns (stand_in_nccl.h).
#include "engine/communicator_nccl.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>

#include "engine/ops.h"
#include "engine/placement.h"
#include "engine/tree_sum.h"
#include "kernels/choice/provider_numerics.h"
#include "kernels/device/graph.h"
#include "tests/providers/stand_in.h"
#include "tests/providers/stand_in_nccl.h"
#include "tests/ptx/runtime.h"
#include "tests/training/training_support.h"

namespace firn::providers {
namespace {

using List = std::vector<Tensor>;
using Values = std::vector<std::vector<double>>;
using Names = std::vector<std::string>;

// What MPI would do. What process 0 broadcasts stays for the turns of others.
class Control : public Communicator {
 public:
  Control(int rank, int size) : rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int on_this_machine() const override { return size_; }
  int place() const override { return rank_; }
  std::string name_of(int rank) const override { return fmt::format("process {} on here", rank); }
  std::vector<std::string> gather(const std::string& mine) override {
    std::vector<std::string> all(size_t(size_), mine);
    if (others) all.back() = others(mine);
    return all;
  }
  std::string broadcast(const std::string& of_first) override {
    static std::string last;
    return rank_ == 0 ? last = of_first : last;
  }
  void watch(std::function<std::string()> ask) override { asked = std::move(ask); }
  void abort(int) override { std::abort(); }
  static inline std::function<std::string()> asked = {};
  static inline int exchanges = 0;
  static inline std::function<std::string(const std::string&)> others = {};  // what the last one brings

 private:
  std::unique_ptr<Exchange> do_exchange(const Stream& stream, std::span<const Piece>, std::span<const Piece>,
                                        int) override {
    EXPECT_FALSE(stream.is_cuda);
    ++exchanges;
    return std::make_unique<Exchange>();
  }
  int rank_, size_;
};

struct Nccl : testing::Test {
  void SetUp() override { reset(); }
  void TearDown() override {
    EXPECT_EQ(ptx::finish(), cudaSuccess);
    EXPECT_EQ(ptx::take_findings(), Names{});
    EXPECT_EQ(nccl().living, 0);
    reset();
  }
  static void reset() {
    stand_in() = {};
    nccl() = {};
    ptx::events() = {};
    kernels::initial_numerics() = {};
    Control::exchanges = 0;
    Control::others = {};
    Control::asked = {};
    cudaGetLastError();
  }
};

std::unique_ptr<Communicator> begin_turn(int rank, int size) {
  nccl().begin_turn(rank);
  return with_nccl(std::make_unique<Control>(rank, size));
}

// Until all that is sent is right: one round for each exchange that what is sent follows from, and one more.
void take_turns(int size, const std::function<void(Communicator&, bool last)>& work, int rounds = 3) {
  for (int round = 0; round < rounds; ++round)
    for (int rank = 0; rank < size; ++rank) {
      const auto processes = begin_turn(rank, size);
      work(*processes, round + 1 == rounds);
      EXPECT_TRUE(stand_in().beside.empty()) << "nobody waits for it";
      EXPECT_EQ(ptx::finish(), cudaSuccess);
    }
}

Names names_of_calls() {
  Names names;
  for (const NcclCall& call : nccl().calls) names.push_back(call.name);
  return names;
}

Device gpu(bool deterministic) { return Device::cuda().with({.deterministic = deterministic}); }

// Large and small ones, of both types, and two that are the same memory.
List leaf(int64_t number, const Device& device) {
  Rng rng{.seed = uint64_t(number) + 1};
  List list;
  for (const auto& [shape, type] : {std::pair<Shape, DType>{{3, 5}, DType::f32},
                                    {{17000}, DType::f32},
                                    {{}, DType::f32},
                                    {{7}, DType::f64},
                                    {{2}, DType::f32}})
    list.push_back(Tensor::from(randn(shape, rng, type, Device::cpu()).to_doubles(), shape, type, device));
  list.push_back(list[1]);
  return list;
}

List plus(List a, const List& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] = a[i] + b[i];
  return a;
}
List sum_of(Leaves node, const Device& device) {
  if (node.count() == 1) return leaf(node.first, device);
  return plus(sum_of({node.first, node.middle()}, device), sum_of({node.middle(), node.last}, device));
}
std::vector<List> sums_of_subtrees(int64_t leaves, int rank, int size, const Device& device) {
  std::vector<List> sums;
  for (const Leaves node : subtrees(leaves, share_of(leaves, rank, size))) sums.push_back(sum_of(node, device));
  return sums;
}

Values values(const List& list) {
  Values all;
  for (const Tensor& t : list) all.push_back(t.to_doubles());
  return all;
}
int64_t bytes_of(const List& list) {
  int64_t bytes = 0;
  for (const Tensor& t : list) bytes += t.count() * int64_t(size_of(t.type()));
  return bytes;
}

TEST_F(Nccl, AnExchangeIsOneGroupBesideTheTensorsStream) {
  const auto processes = begin_turn(0, 3);
  Tensor a = Tensor::full({100}, 1, DType::f32, Device::cuda()), b = Tensor::zeros({100}, DType::f32, Device::cuda());
  auto* const from = static_cast<float*>(a.mutable_data());
  auto* const to = static_cast<float*>(b.mutable_data());
  const std::vector<Communicator::Piece> sends = {{1, from, 40}, {2, from + 10, 0}, {2, from + 10, 80}};
  const std::vector<Communicator::Piece> receives = {{1, to, 120}, {2, to + 30, 4}};
  const auto exchange = processes->exchange(a.stream(), sends, receives);
  EXPECT_EQ(names_of_calls(), (Names{"ncclGetUniqueId", "ncclCommInitRank", "ncclGroupStart", "ncclSend", "ncclSend",
                                     "ncclRecv", "ncclRecv", "ncclGroupEnd"}));
  const std::vector<NcclCall>& calls = nccl().calls;
  for (size_t i = 3; i < 7; ++i) EXPECT_TRUE(is_second(calls[i].stream));
  EXPECT_FALSE(exchange->done());
  EXPECT_EQ(stand_in().beside.size(), 1u) << "the stream goes on meanwhile";
  exchange->wait();
  EXPECT_TRUE(exchange->done());
  EXPECT_TRUE(stand_in().beside.empty());
  EXPECT_EQ(calls[3].data, from);
  EXPECT_EQ(calls[4].data, from + 10);
  EXPECT_EQ(calls[5].data, to);
  EXPECT_EQ(calls[6].data, to + 30);
  for (const auto& [i, peer, bytes] : {std::tuple{3u, 1, 40u}, {4u, 2, 80u}, {5u, 1, 120u}, {6u, 2, 4u}}) {
    EXPECT_EQ(calls[i].peer, peer);
    EXPECT_EQ(calls[i].count, bytes);
    EXPECT_EQ(calls[i].type, ncclUint8);
  }
  EXPECT_EQ(processes->bytes_sent(), 120);
  nccl().calls.clear();
  processes->exchange(a.stream(), sends, receives)->wait();
  EXPECT_EQ(nccl().count("ncclCommInitRank"), 0) << "once";
  EXPECT_EQ(nccl().living, 1);
}

TEST_F(Nccl, WhatIsOnTheCpuGoesTheOtherWay) {
  const auto processes = begin_turn(0, 2);
  std::vector<char> data(4);
  const std::vector<Communicator::Piece> pieces = {{1, data.data(), 4}};
  processes->exchange(Device::cpu().stream(), pieces, pieces);
  EXPECT_FALSE(processes->reduces(Device::cpu().stream()));
  processes->exchange(Device::dry().stream(), pieces, pieces);
  EXPECT_EQ(Control::exchanges, 1);
  EXPECT_EQ(names_of_calls(), Names{});
}

TEST_F(Nccl, DeterministicSumsAreThoseOfOneProcess) {
  const Device device = gpu(true);
  for (const int size : {2, 3})
    for (const int64_t leaves : {3, 5}) {
      nccl() = {};
      const Values expected = values(sum_of({0, leaves}, Device::cpu()));
      take_turns(size, [&](Communicator& processes, bool last) {
        std::vector<List> mine = sums_of_subtrees(leaves, processes.rank(), size, device);
        const List kept = mine[0];
        const Values before = values(kept);
        const Values found = values(sum_over_processes(processes, leaves, std::move(mine)));
        EXPECT_EQ(values(kept), before) << "somebody else saw them";
        if (last) {
          EXPECT_EQ(found, expected) << leaves << " leaves on " << size;
        }
        EXPECT_EQ(nccl().count("ncclGroupStart"), 2);
        EXPECT_EQ(nccl().count("ncclAllReduce"), 0);
        EXPECT_EQ(processes.bytes_sent(), int64_t(nccl().bytes("ncclSend")));
      });
    }
}

TEST_F(Nccl, OtherSumsAreItsOwn) {
  const Device device = gpu(false);
  const int size = 3;
  const int64_t leaves = 5;
  List expected;
  for (int rank = 0; rank < size; ++rank) {
    List own;
    for (const List& list : sums_of_subtrees(leaves, rank, size, Device::cpu()))
      own = own.empty() ? list : plus(std::move(own), list);
    expected = expected.empty() ? own : plus(std::move(expected), own);
  }
  EXPECT_NE(values(expected), values(sum_of({0, leaves}, Device::cpu()))) << "the order shows";
  take_turns(
      size,
      [&](Communicator& processes, bool last) {
        std::vector<List> mine = sums_of_subtrees(leaves, processes.rank(), size, device);
        const List kept = mine[0];
        const Values before = values(kept);
        const Values found = values(sum_over_processes(processes, leaves, std::move(mine)));
        EXPECT_EQ(values(kept), before);
        if (last) {
          EXPECT_EQ(found, values(expected));
        }
        EXPECT_EQ(nccl().count("ncclSend") + nccl().count("ncclRecv"), 0);
        EXPECT_EQ(nccl().count("ncclGroupStart"), 1);
        EXPECT_EQ(nccl().bytes("ncclAllReduce"), size_t(bytes_of(kept)));
        EXPECT_EQ(processes.bytes_sent(), 2 * (size - 1) * bytes_of(kept) / size);
      },
      2);
}

TEST_F(Nccl, SumsThatTravelAsBf16AreRoundedAndAlike) {
  for (const bool deterministic : {true, false})
    for (const int size : {2, 3}) {
      nccl() = {};
      const int64_t leaves = 5;
      const List expected = sum_of({0, leaves}, Device::cpu());
      std::vector<Values> of_each;
      take_turns(size, [&](Communicator& processes, bool last) {
        const List found = sum_over_processes(
            processes, leaves, sums_of_subtrees(leaves, processes.rank(), size, gpu(deterministic)), Wire::bf16);
        EXPECT_EQ(nccl().count("ncclAllReduce"), 0);
        EXPECT_EQ(processes.bytes_sent(), int64_t(nccl().bytes("ncclSend")));
        for (const NcclCall& call : nccl().calls) {
          EXPECT_EQ(call.count % size_of(DType::bf16), 0u);
        }
        if (!last) return;
        of_each.push_back(values(found));
        for (size_t i = 0; i < expected.size(); ++i) {
          const std::vector<double> right = expected[i].to_doubles(), near = found[i].to_doubles();
          EXPECT_EQ(found[i].type(), expected[i].type());
          for (size_t k = 0; k < right.size(); ++k) ASSERT_NEAR(near[k], right[k], 0x1p-7 * 20) << i;
        }
      });
      for (const Values& one : of_each) EXPECT_EQ(one, of_each[0]);
      EXPECT_NE(of_each[0], values(expected));
    }
}

// What fills a bucket goes to the others while the rest is computed, all waits come at the end.
TEST_F(Nccl, SumsAreMadeWhileTheStreamGoesOn) {
  for (const bool deterministic : {true, false}) {
    nccl() = {};
    stand_in().joins = 0;
    const auto processes = begin_turn(0, 2);
    SumOverProcesses sum(*processes, 2);
    for (size_t number = 0; number < 2; ++number) {
      std::vector<Tensor> one;
      one.push_back(Tensor::zeros({(1 << 20) + 1}, DType::f32, gpu(deterministic)));
      sum.add(number, std::move(one));
      EXPECT_EQ(stand_in().beside.size(), number + 1);
    }
    EXPECT_EQ(stand_in().joins, 0);
    EXPECT_EQ(sum.finish().size(), 2u);
    EXPECT_TRUE(stand_in().beside.empty());
    EXPECT_EQ(stand_in().joins, deterministic ? 4 : 2);
  }
}

TEST_F(Nccl, ImagesComeFromWhoKeepsThem) {
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
    for (const Role& role : s.state.roles)
      for (const Parameter& p : role.network->parameters().running()) add(p.value());
    for (const auto& [name, t] : s.state.scalars) add(t);
  }

 private:
  void add(const Tensor& t) {
    results.push_back(t.to_doubles());
    bytes += bytes_of({t});
  }
};

TEST_F(Nccl, APhaseOfTwoProcessesMakesTheBitsOfOneAndSendsNothingFrozen) {
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

TEST_F(Nccl, PhasesAreRecordedAndReplayedWithWhatTheySend) {
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
TEST_F(Nccl, AllProcessesRecordAPhaseOrNone) {
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

TEST_F(Nccl, ItDoesNotStartInAGraph) {
  const auto processes = begin_turn(0, 2);
  const Stream stream = Device::cuda().stream();
  const std::string said =
      message_of<DeviceError>([&] { kernels::Graph graph(stream, [&] { processes->exchange(stream, {}, {}); }); });
  EXPECT_EQ(said, "NCCL: it does not start while a graph is recorded");
  EXPECT_EQ(names_of_calls(), Names{});
}

TEST_F(Nccl, ItsErrorsNameTheCall) {
  const auto sum = [](Communicator& processes, bool deterministic) {
    sum_over_processes(processes, 2, {leaf(0, gpu(deterministic))});
  };
  for (const std::string call : {"ncclGetUniqueId", "ncclCommInitRank", "ncclGroupStart", "ncclSend", "ncclRecv",
                                 "ncclGroupEnd", "ncclAllReduce"}) {
    const auto processes = begin_turn(0, 2);
    nccl().fails = call;
    EXPECT_EQ(message_of<DeviceError>([&] { sum(*processes, call != "ncclAllReduce"); }),
              "NCCL: " + call + ": unhandled system error: a cable is cut");
    nccl().fails = {};
    sum(*processes, true);  // no group is left open
  }
  const auto processes = begin_turn(0, 2);
  sum(*processes, true);
  EXPECT_EQ(Control::asked(), "");
  nccl().under_way = ncclSystemError;
  EXPECT_EQ(Control::asked(), "NCCL: an exchange under way: unhandled system error") << "of another thread";
  for (const std::function<void()>& next : {std::function<void()>([&] { sum(*processes, true); }),
                                            {[&] { processes->gather({}); }},
                                            {[&] { processes->broadcast({}); }}})
    EXPECT_EQ(message_of<DeviceError>(next), "NCCL: an exchange under way: unhandled system error");
}

TEST_F(Nccl, ProcessesOfAMachineTakeAGpuEach) {
  stand_in().gpus = 2;
  for (const char* name : {"auto", "cuda"}) {
    EXPECT_EQ(device_for(name, Control(0, 2)).name(), "cuda:0");
    EXPECT_EQ(device_for(name, Control(1, 2)).name(), "cuda:1");
    EXPECT_EQ(device_for(name, alone()).name(), "cuda:0");
    EXPECT_MENTIONS(message_of<DeviceError>([&] { device_for(name, Control(2, 3)); }),
                    "process 2 on here has no GPU of its own: of 3 processes there, each sees 2 GPUs;");
  }
  EXPECT_EQ(device_for("cuda:0", Control(1, 2)).name(), "cuda:0");
  EXPECT_EQ(device_for("cpu", Control(1, 2)).name(), "cpu");
  const auto processes = begin_turn(0, 2);
  processes->exchange(Device::cuda(1).stream(), {}, {});
  EXPECT_EQ(message_of<DeviceError>([&] { processes->exchange(Device::cuda(0).stream(), {}, {}); }),
            "NCCL: this process has exchanged data of GPU 1, not 0");
}

// Each of these makes a test fail, by its status or as a finding.
TEST_F(Nccl, TheStandInTakesNoMisuse) {
  stand_in().gpus = 2;
  auto* const other = static_cast<cudaStream_t>(Device::cuda(1).stream().cuda);
  const Device device = Device::cuda();
  auto* const stream = static_cast<cudaStream_t>(device.stream().cuda);
  Tensor t = Tensor::zeros({100}, DType::f32, device);
  void* const data = t.mutable_data();
  ncclUniqueId id;
  ncclComm_t c = nullptr;
  ncclGetUniqueId(&id);
  const auto expect_finding = [](const std::string& part) {
    const std::vector<std::string> found = ptx::take_findings();
    ASSERT_EQ(found.size(), 1u) << part;
    EXPECT_MENTIONS(found[0], part);
  };
  const auto in_group = [](const std::function<ncclResult_t()>& call) {
    ncclGroupStart();
    const ncclResult_t status = call();
    return ncclGroupEnd(), status;
  };
  EXPECT_THROW(kernels::Graph(device.stream(), [&] { EXPECT_EQ(ncclCommInitRank(&c, 2, id, 0), ncclInvalidUsage); }),
               DeviceError);
  expect_finding("ncclCommInitRank while a graph is recorded");
  EXPECT_EQ(ncclCommInitRank(&c, 2, {}, 0), ncclInvalidUsage);
  expect_finding("another id than process 0's");
  ASSERT_EQ(ncclCommInitRank(&c, 2, id, 0), ncclSuccess);
  EXPECT_EQ(ncclSend(data, 4, ncclUint8, 1, c, stream), ncclInvalidUsage);
  expect_finding("ncclSend outside of a group");
  EXPECT_EQ(ncclRecv(data, 4, ncclUint8, 1, c, stream), ncclInvalidUsage);
  expect_finding("ncclRecv outside of a group");
  for (cudaStream_t wrong : {cudaStream_t{}, other}) {
    EXPECT_EQ(in_group([&] { return ncclSend(data, 4, ncclUint8, 1, c, wrong); }), ncclInvalidUsage);
    expect_finding("a stream that is not of the communicator's GPU");
  }
  EXPECT_EQ(in_group([&] { return ncclSend(data, 4, ncclUint8, 0, c, stream); }), ncclInvalidUsage);
  expect_finding("a process that is no peer");
  std::vector<float> host(100);
  for (const auto& [memory, bytes] : {std::pair<void*, size_t>{host.data(), 4}, {data, 404}})
    for (const bool sends : {true, false}) {
      EXPECT_EQ(in_group([&] {
                  return sends ? ncclSend(memory, bytes, ncclUint8, 1, c, stream)
                               : ncclRecv(memory, bytes, ncclUint8, 1, c, stream);
                }),
                ncclSuccess);
      EXPECT_NE(ptx::finish(), cudaSuccess);
      expect_finding("allocation");
    }
  nccl().sent[{1, 0}] = {std::vector<std::byte>(8)};
  nccl().received = {};
  EXPECT_EQ(in_group([&] { return ncclRecv(data, 4, ncclUint8, 1, c, stream); }), ncclSuccess);
  EXPECT_NE(ptx::finish(), cudaSuccess);
  expect_finding("process 0 waits for 4 bytes that process 1 does not send");
  nccl().summands[1] = {std::vector<std::byte>(8)};
  EXPECT_EQ(ncclAllReduce(data, data, 1, ncclFloat32, ncclSum, c, stream), ncclSuccess);
  EXPECT_NE(ptx::finish(), cudaSuccess);
  expect_finding("reduce other counts");
  ncclCommDestroy(c);
}

}  // namespace
}  // namespace firn::providers
