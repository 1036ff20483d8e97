// Snapshots: exact round trips, names for exchange, transfers, and files that are broken.
#include "tests/training/training_support.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

struct SnapshotTest : testing::Test {
  Scratch scratch;
  TrainOptions options = tiny_options(write_images(scratch / "data", 8));
};
using Snapshot = SnapshotTest;
using Transfer = SnapshotTest;

TEST_F(Snapshot, RoundTripIsBitExact) {
  TinyRun a(options, scratch / "a");
  a.iterate(3);
  TinyRun b(options, scratch / "b", a.save("s.safetensors"));
  EXPECT_EQ(read_bytes(b.save("s.safetensors")), read_bytes(scratch / "a/s.safetensors"));
  EXPECT_EQ(b.state.rng.offset, a.state.rng.offset);
  EXPECT_EQ(b.state.role("G").adam->step_count(), a.state.role("G").adam->step_count());
}

TEST_F(Snapshot, NamesAndShapesAreThoseOfTheOriginal) {
  TinyRun run(options, scratch / "a");
  const SafetensorsFile file = read_safetensors(run.save("s.safetensors"));
  const auto shape = [&](const std::string& name) { return file.at(name).shape; };
  using S = std::vector<int64_t>;
  EXPECT_EQ(shape("G.mapping.fc0.weight"), (S{8, 8}));
  EXPECT_EQ(shape("G.mapping.w_avg"), (S{8}));
  EXPECT_EQ(shape("G.synthesis.b4.const"), (S{8, 4, 4}));
  EXPECT_EQ(shape("G.synthesis.b4.conv1.noise_strength"), (S{}));
  EXPECT_EQ(shape("G_ema.synthesis.b8.conv0.weight"), (S{8, 8, 3, 3}));
  EXPECT_EQ(shape("G.synthesis.b8.torgb.weight"), (S{3, 8, 1, 1}));
  EXPECT_EQ(shape("D.b8.fromrgb.weight"), (S{8, 3, 1, 1}));
  EXPECT_EQ(shape("D.b4.conv.weight"), (S{8, 9, 3, 3}));
  for (const char* name :
       {"G.synthesis.b8.resample_filter", "G.synthesis.b4.resample_filter", "G.synthesis.b4.conv1.resample_filter",
        "D.b8.resample_filter", "D.b8.fromrgb.resample_filter", "D.b8.conv1.resample_filter",
        "D.b8.skip.resample_filter", "D.b4.conv.resample_filter"})
    EXPECT_EQ(shape(name), (S{4, 4})) << name;
  EXPECT_FALSE(file.contains("D.b4.resample_filter"));
  EXPECT_FALSE(file.contains("G.synthesis.b8.torgb.resample_filter"));
  EXPECT_DOUBLE_EQ(file.at("D.b8.resample_filter").to_doubles()[5], 9 / 64.0);
  EXPECT_EQ(file.metadata.at("format"), "firn-1");
}

TEST_F(Snapshot, MissingWrongOrForeignTensorsAreOneLine) {
  TinyRun run(options, scratch / "a");
  const SafetensorsFile good = read_safetensors(run.save("s.safetensors"));
  const auto broken = [&](auto&& change) {
    SafetensorsFile file = good;
    change(file);
    const std::string message = message_of([&] { restore(run.state, file); });
    EXPECT_EQ(message.find('\n'), std::string::npos);
    return message;
  };
  EXPECT_MENTIONS(broken([](auto& f) { f.tensors.erase("D.b4.out.weight"); }), "D.b4.out.weight");
  EXPECT_MENTIONS(broken([](auto& f) { f.tensors.erase("state.G.exp_avg_sq.mapping.fc0.weight"); }),
                  "state.G.exp_avg_sq.mapping.fc0.weight");
  EXPECT_MENTIONS(broken([](auto& f) { f.tensors["D.b4.out.bias"].shape = {1, 1}; }), "expected [1]");
  EXPECT_MENTIONS(broken([](auto& f) { f.tensors["G.extra"] = f.tensors["D.b4.out.bias"]; }), "G.extra");
  EXPECT_MENTIONS(broken([](auto& f) { f.tensors["D.b8.resample_filter"].bytes[3] = std::byte{7}; }),
                  "resample_filter");
  EXPECT_MENTIONS(broken([](auto& f) { f.tensors["state.counters"].shape = {4}; }), "5 integers");
  EXPECT_MENTIONS(message_of([&] { snapshot_options({}, "x"); }), "not a snapshot");
}

TEST_F(Snapshot, TruncatedFileIsAnIoError) {
  TinyRun run(options, scratch / "a");
  const std::vector<std::byte> whole = read_bytes(run.save("s.safetensors"));
  put(scratch / "cut.safetensors", std::span(whole).first(whole.size() - 10));
  EXPECT_MENTIONS(message_of([&] { read_safetensors(scratch / "cut.safetensors"); }), "cut.safetensors");
}

TEST_F(Transfer, EqualModelsCopyEverything) {
  TinyRun source(options, scratch / "a");
  source.iterate(2);
  TrainOptions o = options;
  o.seed = 9;
  TinyRun target(o, scratch / "b");
  const TransferReport report = transfer(target.state, o, read_safetensors(source.save("s.safetensors")));
  ASSERT_EQ(report.networks.size(), 3u);
  for (const auto& n : report.networks) {
    EXPECT_GT(n.copied, 10) << n.name;
    EXPECT_TRUE(n.fresh.empty() && n.skipped.empty()) << to_string(report);
  }
  const auto same = [](const Parameters& a, const Parameters& b) {
    for (size_t i = 0; i < a.size(); ++i)
      if (a[i].value().to_floats() != b[i].value().to_floats()) return false;
    return true;
  };
  EXPECT_TRUE(same(source.state.generator().parameters(), target.state.generator().parameters()));
  EXPECT_TRUE(same(source.state.discriminator().parameters(), target.state.discriminator().parameters()));
  EXPECT_TRUE(same(source.state.sampled().parameters(), target.state.sampled().parameters()));
  EXPECT_FALSE(same(target.state.generator().parameters(), target.state.sampled().parameters()));
  EXPECT_EQ(target.state.counters.images, 0);
  EXPECT_EQ(target.state.role("G").adam->step_count(), 0);
}

TEST_F(Transfer, TellsWhatFitsAndWhatDoesNot) {
  TinyRun source(options, scratch / "a");
  TrainOptions o = options;
  model_of(o).img_channels = 1;
  model_of(o).c_dim = 2;
  o.data.channels = 1;
  TinyRun target(o, scratch / "b");
  const TransferReport report = transfer(target.state, o, read_safetensors(source.save("s.safetensors")));
  const std::string text = to_string(report);
  EXPECT_MENTIONS(text, "mapping.embed.weight: not in the file");
  EXPECT_MENTIONS(text, "b4.out.weight: [1,8] in the file, [8,8] here");
  EXPECT_MENTIONS(text, "b8.fromrgb.weight: from 3 to 1 channels");
  EXPECT_MENTIONS(text, "synthesis.b8.torgb.weight");
}

TEST_F(Transfer, AverageAloneInitialisesBothGenerators) {
  TinyRun source(options, scratch / "a");
  source.iterate(1);
  SafetensorsFile file = read_safetensors(source.save("s.safetensors"));
  std::erase_if(file.tensors, [](const auto& t) { return !t.first.starts_with("G_ema."); });
  TinyRun target(options, scratch / "b");
  const TransferReport report = transfer(target.state, options, file);
  EXPECT_EQ(report.networks[0].source, "G_ema");
  EXPECT_EQ(target.state.generator().parameters()[0].value().to_floats(),
            source.state.sampled().parameters()[0].value().to_floats());
  EXPECT_EQ(report.networks[1].copied, 0);
}

TEST_F(Transfer, NothingInCommonIsAnError) {
  TinyRun target(options, scratch / "b");
  EXPECT_MENTIONS(message_of([&] { transfer(target.state, options, SafetensorsFile{}); }), "no tensor");
}

TEST_F(Transfer, FrozenTensorsStayAsTheyCame) {
  TinyRun source(options, scratch / "a");
  TrainOptions o = options;
  o.freeze.blocks = 1;
  TinyRun target(o, scratch / "b");
  transfer(target.state, o, read_safetensors(source.save("s.safetensors")));
  target.iterate(2);
  for (const Parameter& p : target.state.discriminator().parameters()) {
    const bool same =
        p.value().to_floats() == source.state.discriminator().parameters().find(p.name())->value().to_floats();
    EXPECT_EQ(same, p.frozen()) << p.name();
  }
  TinyRun resumed(o, scratch / "c", target.save("s.safetensors"));
  EXPECT_EQ(resumed.state.role("D").adam->targets().size(), target.state.role("D").adam->targets().size());
}

}  // namespace
}  // namespace firn
