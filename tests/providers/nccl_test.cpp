// What GPUs of several processes send each other by NCCL: which calls, in which order, on which stream, and the sums
// that come of it.
#include "engine/placement.h"
#include "kernels/device/graph.h"
#include "tests/providers/nccl_support.h"
#include "tests/training/training_support.h"

namespace firn::providers {
namespace {

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
