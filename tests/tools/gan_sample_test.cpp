// gan-sample and gan-check from outside.
#include <nlohmann/json.hpp>
#include <set>

#include "io/npz.h"
#include "tests/tools/tools_support.h"
#include "training/run/run_folder.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

struct Tools : testing::Test {
  static void SetUpTestSuite() {
    scratch = new Scratch;
    write_images(*scratch / "data", 16, 8, 3, 2);
    ASSERT_EQ(tool("gan-train", tiny_train(*scratch, "--cond --kimg 0.032")).code, 0);
    snapshot = latest_snapshot(*scratch / "runs");
  }
  static void TearDownTestSuite() { delete scratch; }
  static Ran sample(const std::string& arguments) {
    return tool("gan-sample", fmt::format("--snapshot '{}' {}", snapshot.string(), arguments));
  }
  static std::string at(const char* name) { return (*scratch / name).string(); }

  static inline Scratch* scratch = nullptr;
  static inline fs::path snapshot;
};
using GanSample = Tools;
using GanCheck = Tools;

TEST_F(GanSample, WritesGridFilesAndRawImages) {
  const Ran ran = sample(fmt::format("--seeds 0-4,9 --columns 3 --trunc 0.7 --grid {} --outdir {} --raw {}",
                                     at("g.png"), at("out"), at("raw.safetensors")));
  ASSERT_EQ(ran.code, 0) << ran.output;
  const Image grid = load_image(at("g.png"));
  EXPECT_EQ(std::pair(grid.width, grid.height), std::pair(24, 16));
  EXPECT_TRUE(fs::exists(*scratch / "out/seed0009.png"));
  const SafetensorsFile raw = read_safetensors(at("raw.safetensors"));
  EXPECT_EQ(raw.at("images").shape, (std::vector<int64_t>{6, 3, 8, 8}));
}

TEST_F(GanSample, ClassSelectsAndIsChecked) {
  const auto image_of = [&](const std::string& arguments) {
    EXPECT_EQ(sample(arguments + " --raw " + at("class.safetensors")).code, 0);
    return read_safetensors(at("class.safetensors")).at("images").bytes;
  };
  EXPECT_NE(image_of("--seeds 1 --class 0"), image_of("--seeds 1 --class 1"));
  EXPECT_EQ(image_of("--seeds 1 --class 1"), image_of("--seeds 1 --class 1"));
  const Ran ran = sample("--seeds 1 --class 2 --grid " + at("c2.png"));
  EXPECT_EQ(ran.code, 2);
  EXPECT_MENTIONS(ran.output, "classes 0 to 1");
}

TEST_F(GanSample, LatentsFromAFileGiveTheSameImages) {
  Rng rng{.seed = 3};
  const Tensor z = randn({1, 8}, rng, DType::f32, Device::cpu());
  SafetensorsFile file;
  file.tensors["z"] = StoredTensor::of(std::span<const float>(z.to_floats()), {1, 8});
  write_safetensors(*scratch / "z.safetensors", file);
  ASSERT_EQ(sample("--seeds 3 --class 0 --raw " + at("a.safetensors")).code, 0);
  ASSERT_EQ(sample(fmt::format("--latents {} --class 0 --raw {}", at("z.safetensors"), at("b.safetensors"))).code, 0);
  EXPECT_EQ(read_safetensors(at("a.safetensors")).at("images").bytes,
            read_safetensors(at("b.safetensors")).at("images").bytes);

  file.tensors = {{"ws", StoredTensor::of(std::span<const float>(std::vector<float>(2 * 4 * 8, 0.5f)), {2, 4, 8})}};
  write_safetensors(*scratch / "ws.safetensors", file);
  EXPECT_EQ(sample(fmt::format("--latents {} --raw {}", at("ws.safetensors"), at("c.safetensors"))).code, 0);
  EXPECT_EQ(read_safetensors(at("c.safetensors")).at("images").shape[0], 2);

  file.tensors = {{"z", StoredTensor::of(std::span<const float>(std::vector<float>(7)), {1, 7})}};
  write_safetensors(*scratch / "z7.safetensors", file);
  const Ran bad = sample(fmt::format("--latents {} --raw {}", at("z7.safetensors"), at("d.safetensors")));
  EXPECT_EQ(bad.code, 1);
  EXPECT_MENTIONS(bad.output, "expected [N,8]");

  file.tensors["ws"] = file.tensors["z"];
  write_safetensors(*scratch / "both.safetensors", file);
  const Ran both = sample(fmt::format("--latents {} --raw {}", at("both.safetensors"), at("d.safetensors")));
  EXPECT_EQ(both.code, 1);
  EXPECT_MENTIONS(both.output, "expected one of z, w and ws, there are z and ws");
  const Ran seeds = sample(fmt::format("--latents {} --seeds 3 --raw {}", at("z.safetensors"), at("d.safetensors")));
  EXPECT_EQ(seeds.code, 2);
  EXPECT_MENTIONS(seeds.output, "--seeds says nothing beside --latents");
}

TEST_F(GanSample, MixesAndInterpolates) {
  ASSERT_EQ(sample("--mix-rows 1,2 --mix-cols 3-5 --mix-layers 0-1 --grid " + at("mix.png")).code, 0);
  const Image mix = load_image(at("mix.png"));
  EXPECT_EQ(std::pair(mix.width, mix.height), std::pair(32, 24));
  // All layers of the column's style give the column's image; some of them a third one.
  for (const auto& [layers, same] : {std::pair{"0-3", true}, {"0", false}}) {
    ASSERT_EQ(sample(fmt::format("--mix-rows 1 --mix-cols 3 --mix-layers {} --outdir {}", layers, at("mix"))).code, 0);
    const Image mixed = load_image(*scratch / "mix/0001-0003.png");
    EXPECT_EQ(mixed == load_image(*scratch / "mix/col0003.png"), same);
    EXPECT_NE(mixed, load_image(*scratch / "mix/row0001.png"));
  }
  EXPECT_NE(load_image(*scratch / "mix/col0003.png"), load_image(*scratch / "mix/row0001.png"));
  ASSERT_EQ(sample("--seeds 1,2,3 --interpolate 4 --class 0 --outdir " + at("frames")).code, 0);
  ASSERT_EQ(sample("--seeds 1,2,3 --class 0 --outdir " + at("frames")).code, 0);
  EXPECT_EQ(load_image(*scratch / "frames/frame00004.png"), load_image(*scratch / "frames/seed0002.png"));
  EXPECT_NE(load_image(*scratch / "frames/frame00006.png"), load_image(*scratch / "frames/seed0002.png"));
  EXPECT_TRUE(fs::exists(*scratch / "frames/frame00011.png"));
  EXPECT_FALSE(fs::exists(*scratch / "frames/frame00012.png"));
}

TEST_F(GanSample, StylesAreSavedAndReadAsNpz) {
  ASSERT_EQ(sample(fmt::format("--seeds 3,4 --class 0 --save-ws {} --outdir {}", at("w.npz"), at("by-seed"))).code, 0);
  ASSERT_EQ(sample("--seeds 3,4 --class 0 --save-ws " + at("saved.safetensors")).code, 0);
  const SafetensorsFile npz = read_npz(at("w.npz"));
  EXPECT_EQ(npz.at("w").shape, (std::vector<int64_t>{2, 4, 8}));
  EXPECT_EQ(npz.at("w").bytes, read_safetensors(at("saved.safetensors")).at("ws").bytes);
  ASSERT_EQ(sample(fmt::format("--latents {} --outdir {}", at("w.npz"), at("by-w"))).code, 0);
  EXPECT_EQ(load_image(*scratch / "by-w/latent0001.png"), load_image(*scratch / "by-seed/seed0004.png"));
  put(*scratch / "broken.npz", std::string_view("PK"));
  const Ran broken = sample(fmt::format("--latents {} --raw {}", at("broken.npz"), at("d.safetensors")));
  EXPECT_EQ(broken.code, 1);
  EXPECT_EQ(broken.lines(), 1);
}

TEST_F(GanSample, DirectionsMoveTheLayersThatAreNamed) {
  ASSERT_EQ(sample("--seeds 1,2 --class 0 --sefa 2 --sefa-steps 5 --grid " + at("sefa.png")).code, 0);
  const Image sheet = load_image(at("sefa.png"));
  EXPECT_EQ(std::pair(sheet.width, sheet.height), std::pair(5 * 8, 4 * 8));
  ASSERT_EQ(
      sample(fmt::format("--seeds 1 --class 0 --sefa 2 --sefa-index 1 --sefa-range -4..4 --sefa-steps 3 --layers 1 "
                         "--outdir {} --save-ws {}",
                         at("sefa"), at("sefa.npz")))
          .code,
      0);
  ASSERT_EQ(sample(fmt::format("--seeds 1 --class 0 --outdir {} --save-ws {}", at("sefa"), at("plain.npz"))).code, 0);
  EXPECT_EQ(load_image(*scratch / "sefa/seed0001-direction01-001.png"), load_image(*scratch / "sefa/seed0001.png"));
  const std::vector<double> moved = read_npz(at("sefa.npz")).at("w").to_doubles(),
                            plain = read_npz(at("plain.npz")).at("w").to_doubles();
  ASSERT_EQ(moved.size(), 3 * plain.size());
  double length = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    const double by = moved[2 * plain.size() + i] - plain[i];
    if (i / 8 == 1)
      length += by * by;
    else
      EXPECT_EQ(by, 0) << i;
  }
  EXPECT_NEAR(length, 16, 1e-4);
  for (const auto& [arguments, because] : {std::pair{"--sefa 9", "these layers have 8 directions"},
                                           {"--sefa 2 --sefa-index 2", "directions 0 to 1"},
                                           {"--sefa 2 --sefa-range 3", "expected FROM..TO"},
                                           {"--sefa 2 --layers 7", "the network has layers 0 to 3"}}) {
    const Ran ran = sample(fmt::format("{} --class 0 --grid {}", arguments, at("no.png")));
    EXPECT_EQ(ran.code, 2);
    EXPECT_MENTIONS(ran.output, because);
  }
}

TEST_F(GanSample, FilmsAreFramesWhereThereIsNoFfmpeg) {
  const Ran ran =
      shell(fmt::format("PATH=/nowhere '{}' --snapshot '{}' --seeds 1,2 --interpolate 2 --class 0 --video {}",
                        tool_path("gan-sample"), snapshot.string(), at("film.mp4")));
  EXPECT_EQ(ran.code, 0);
  EXPECT_MENTIONS(ran.output, "film: the frames, as ffmpeg is not installed");
  EXPECT_TRUE(fs::exists(*scratch / "film/frame00003.png"));
  const Ran other = sample("--seeds 1,2 --interpolate 2 --class 0 --video " + at("film.avi"));
  EXPECT_EQ(other.code, 2);
  EXPECT_MENTIONS(other.output, "ends in .mp4");
}

TEST_F(GanSample, ASeedHasTheSamePictureInEveryListAndBatch) {
  const auto images = [&](const std::string& arguments) {
    const Ran ran = sample(arguments + " --threads 1 --raw " + at("seed.safetensors"));
    EXPECT_EQ(ran.code, 0) << ran.output;
    return read_safetensors(at("seed.safetensors")).at("images").bytes;
  };
  for (const std::string noise : {"const", "random"}) {  // of both classes
    const auto all = images("--seeds 1-5 --noise-mode " + noise), alone = images("--seeds 4 --noise-mode " + noise);
    const size_t one = alone.size();
    ASSERT_EQ(all.size(), 5 * one);
    EXPECT_EQ(std::vector(all.begin() + 3 * int(one), all.begin() + 4 * int(one)), alone) << noise;
    EXPECT_EQ(images("--seeds 1-5 --batch 2 --noise-mode " + noise), all) << noise;
  }
}

TEST_F(GanSample, ARunFolderStandsForItsLatestSnapshot) {
  const std::string run = snapshot.parent_path().string();
  const Ran ran = tool("gan-sample", fmt::format("--snapshot '{}' --seeds 1 --grid {}", run, at("of-run.png")));
  EXPECT_EQ(ran.code, 0) << ran.output;
  ASSERT_EQ(sample("--seeds 1 --grid " + at("of-file.png")).code, 0);
  EXPECT_EQ(load_image(at("of-run.png")), load_image(at("of-file.png")));
  const Ran none = tool("gan-sample", fmt::format("--snapshot '{}' --grid x.png", at("data")));
  EXPECT_EQ(none.code, 1);
  EXPECT_MENTIONS(none.output, "holds no snapshot");
}

TEST_F(GanSample, MixesByDefaultWhatTheNetworkHas) {
  ASSERT_EQ(sample("--mix-rows 1 --mix-cols 3 --grid " + at("default.png")).code, 0);
  ASSERT_EQ(sample("--mix-rows 1 --mix-cols 3 --mix-layers 0-1 --grid " + at("half.png")).code, 0);
  EXPECT_EQ(load_image(at("default.png")), load_image(at("half.png")));
}

// 173 kB that claim a network of gigabytes.
TEST_F(GanSample, ASnapshotIsHeldAgainstItsHeaderBeforeMemoryIsSpent) {
  SafetensorsFile file = read_safetensors(snapshot);
  nlohmann::json options = nlohmann::json::parse(file.metadata["options"]);
  for (const char* key : {"channel_max", "z_dim", "w_dim"}) options["model"][key] = 4096;
  options["model"]["channel_base"] = 1 << 19;
  file.metadata["options"] = options.dump();
  file.metadata["model"] = options["model"].dump();
  write_safetensors(*scratch / "claims.safetensors", file);
  const std::string limited =
      fmt::format("{}OMP_WAIT_POLICY=passive ", runs_under_limits() ? "ulimit -v 2000000; " : "");
  for (const std::string& command :
       {fmt::format("'{}' --snapshot {} --grid x.png", tool_path("gan-sample"), at("claims.safetensors")),
        fmt::format("'{}' --outdir {} --resume {} --data {}", tool_path("gan-train"), at("claims"),
                    at("claims.safetensors"), at("data")),
        fmt::format("'{}' --snapshot {} --phase Gmain --inputs x --out y", tool_path("gan-check"),
                    at("claims.safetensors"))}) {
    const Ran ran = shell(limited + command);
    EXPECT_EQ(ran.code, 1) << ran.output;
    EXPECT_MENTIONS(ran.output, "expected [4096");
  }
}

// Generated code is memory too: a library that does not look whether it got some would crash.
TEST_F(GanSample, TooLittleMemoryIsALine) {
  if (!runs_under_limits()) GTEST_SKIP() << "this build reserves more addresses than the limit allows";
  int tried = 0;
  for (int kilobytes = 70'000; kilobytes < 140'000; kilobytes += 10'000) {
    const std::string limited =
        fmt::format("ulimit -v {}; OMP_WAIT_POLICY=passive '{}' ", kilobytes, tool_path("gan-sample"));
    if (shell(limited + "--help").code != 0) continue;  // libraries do not come up, before there is a tool
    ++tried;
    const Ran ran =
        shell(fmt::format("{} --snapshot '{}' --threads 1 --grid {}", limited, snapshot.string(), at("little.png")));
    EXPECT_LE(ran.code, 1) << kilobytes << " kB: " << ran.code << ran.output;
    EXPECT_EQ(ran.lines(), 1) << ran.output;
  }
  EXPECT_GE(tried, 4);
}

TEST_F(GanSample, WhatAPictureIsMadeFromIsNotReplacedByIt) {
  const auto before = read_bytes(snapshot);
  const Ran ran = sample("--seeds 1 --raw " + snapshot.string());
  EXPECT_EQ(ran.code, 2);
  EXPECT_MENTIONS(ran.output, "which it is made from");
  EXPECT_EQ(read_bytes(snapshot), before);
}

TEST_F(GanSample, MisuseIsOneLine) {
  for (const auto& [arguments, code] : {std::pair{"--seeds 1", 2},
                                        {"--grid x.png --noise-mode loud", 2},
                                        {"--grid x.png --mix-rows 1", 2},
                                        {"--grid x.png --seeds 5-1", 2},
                                        {"--grid x.png --weights D", 2},
                                        {"--grid x.png --columns 134217729", 2},
                                        {"--grid x.png --threads 100000", 2},
                                        {"--grid x.png --class -1", 2},
                                        {"--grid x.png --batch 0", 2},
                                        {"--grid x.png --trunc nan", 2},
                                        {"--grid x.png --mix-rows 1 --mix-cols 2 --mix-layers 4", 2},
                                        {"--grid x.png --raw x.png", 2},
                                        {"--grid x.jpg", 2},
                                        {"--grid --title x", 2},
                                        {"--outdir x --interpolate 50000 --seeds 1-3", 2},
                                        {"--seeds 1 --grid 'no\nsuch/x.png'", 1},
                                        {"--grid /no/such/dir/x.png", 1}}) {
    const Ran ran = sample(arguments);
    EXPECT_EQ(ran.code, code) << arguments << ran.output;
    EXPECT_EQ(ran.lines(), 1) << ran.output;
  }
  EXPECT_EQ(tool("gan-sample", "--snapshot /no/such/file --grid x.png").code, 1);
}

TEST_F(GanCheck, WritesEveryGradientOfEachPhase) {
  Rng rng{.seed = 1};
  SafetensorsFile in;
  const auto put_tensor = [&](const char* name, const Shape& shape) {
    in.tensors[name] =
        StoredTensor::of(std::span<const float>(randn(shape, rng, DType::f32, Device::cpu()).to_floats()), shape);
  };
  put_tensor("z", {4, 8});
  put_tensor("images", {4, 3, 8, 8});
  put_tensor("pl_noise", {4, 3, 8, 8});
  const int64_t labels[] = {0, 1, 1, 0};
  in.tensors["labels"] = StoredTensor::of(std::span<const int64_t>(labels), {4});
  write_safetensors(*scratch / "in.safetensors", in);
  for (const std::string phase : {"Gmain", "Greg", "Dmain", "Dreg"}) {
    const auto run = [&](const std::string& type) {
      const Ran ran =
          tool("gan-check", fmt::format("--snapshot {} --phase {} --inputs {} --out {} --type {}", snapshot.string(),
                                        phase, at("in.safetensors"), at("out.safetensors"), type));
      EXPECT_EQ(ran.code, 0) << ran.output;
      return read_safetensors(at("out.safetensors"));
    };
    const SafetensorsFile f64 = run("f64"), f32 = run("f32");
    const double loss = f64.at("loss").to_doubles()[0];
    EXPECT_NEAR(f32.at("loss").to_doubles()[0], loss, 1e-4 * (1 + std::abs(loss))) << phase;
    EXPECT_EQ(f64.tensors.size(), f32.tensors.size());
    const std::string name = phase[0] == 'G' ? "grad.synthesis.b8.conv0.weight" : "grad.b8.conv0.weight";
    EXPECT_EQ(f64.at(name).shape, (std::vector<int64_t>{8, 8, 3, 3}));
    EXPECT_EQ(f64.at(name).dtype, "F64");
  }
  EXPECT_EQ(tool("gan-check", fmt::format("--snapshot {} --phase Cmain --inputs x --out y", snapshot.string())).code,
            2);
  in.tensors.erase("z");
  write_safetensors(*scratch / "in.safetensors", in);
  const Ran missing = tool("gan-check", fmt::format("--snapshot {} --phase Gmain --inputs {} --out y",
                                                    snapshot.string(), at("in.safetensors")));
  EXPECT_EQ(missing.code, 1);
  EXPECT_EQ(missing.lines(), 1) << missing.output;
}

TEST_F(GanCheck, KeepsWhatItReads) {
  const fs::path copy = *scratch / "copy.safetensors";
  fs::copy_file(snapshot, copy);
  const Ran ran =
      tool("gan-check", fmt::format("--snapshot '{0}' --phase Gmain --inputs x --out '{0}'", copy.string()));
  EXPECT_EQ(ran.code, 2) << ran.output;
  EXPECT_MENTIONS(ran.output, "would replace");
  EXPECT_EQ(fs::file_size(copy), fs::file_size(snapshot));
}

TEST_F(GanCheck, TakesLabelsAsNumbersAndOneHot) {
  SafetensorsFile in;
  Rng rng{.seed = 4};
  const auto normal = [&](const Shape& shape) {
    return StoredTensor::of(std::span<const float>(randn(shape, rng, DType::f32, Device::cpu()).to_floats()), shape);
  };
  in.tensors["z"] = normal({2, 8});
  in.tensors["images"] = normal({2, 3, 8, 8});
  const auto run = [&](StoredTensor labels) {
    in.tensors["labels"] = std::move(labels);
    write_safetensors(*scratch / "labelled.safetensors", in);
    return tool("gan-check", fmt::format("--snapshot '{}' --phase Dmain --inputs {} --out {}", snapshot.string(),
                                         at("labelled.safetensors"), at("labels-out.safetensors")));
  };
  const auto loss_of = [&](const StoredTensor& labels) {
    const Ran ran = run(labels);
    EXPECT_EQ(ran.code, 0) << ran.output;
    return read_safetensors(at("labels-out.safetensors")).at("loss").to_doubles()[0];
  };
  const auto floats = [](std::vector<float> v, Shape shape) {
    return StoredTensor::of(std::span<const float>(v), std::move(shape));
  };
  const double loss = loss_of(floats({1, 0}, {2}));
  EXPECT_EQ(loss_of(floats({0, 1, 1, 0}, {2, 2})), loss);
  EXPECT_NE(loss_of(floats({1, 0, 1, 0}, {2, 2})), loss);
  EXPECT_MENTIONS(run(floats({0.5f, 0}, {2})).output, "label 0.5 is not a class of 0 to 1");
  EXPECT_MENTIONS(run(floats({1, 1, 1, 0}, {2, 2})).output, "are not one-hot");
  in.tensors["z"] = floats(std::vector<float>(16, NAN), {2, 8});
  EXPECT_MENTIONS(run(floats({1, 0}, {2})).output, "z has values that are not finite");
}

TEST_F(GanSample, WhatIsNotFiniteIsNoPicture) {
  SafetensorsFile file = read_safetensors(snapshot);
  StoredTensor& weight = file.tensors["G_ema.synthesis.b8.torgb.bias"];
  weight = StoredTensor::of(std::span<const float>(std::vector<float>(size_t(weight.count()), NAN)), weight.shape);
  write_safetensors(*scratch / "nan.safetensors", file);
  const Ran ran =
      tool("gan-sample", fmt::format("--snapshot {} --seeds 0 --grid {}", at("nan.safetensors"), at("nan.png")));
  EXPECT_EQ(ran.code, 1) << ran.output;
  EXPECT_EQ(ran.lines(), 1) << ran.output;
  EXPECT_FALSE(fs::exists(*scratch / "nan.png"));
}

TEST_F(GanSample, ClassesThatNoImageHadAreAnError) {
  SafetensorsFile file = read_safetensors(snapshot);
  nlohmann::json options = nlohmann::json::parse(file.metadata["options"]);
  for (const auto& counts : {std::vector<int64_t>{-1, -1}, {0, 0}, {1, 1, 1}}) {
    options["class_counts"] = counts;
    file.metadata["options"] = options.dump();
    write_safetensors(*scratch / "counts.safetensors", file);
    const Ran ran = tool("gan-sample",
                         fmt::format("--snapshot {} --seeds 0 --grid {}", at("counts.safetensors"), at("counts.png")));
    EXPECT_EQ(ran.code, 1) << ran.output;
    EXPECT_MENTIONS(ran.output, "class_counts are not those of 2 classes");
  }
}

TEST_F(GanCheck, ComparesTwoTypesAndHoldsThemToATolerance) {
  const auto compare = [&](const std::string& arguments) {
    return tool("gan-check", "compare --a cpu:f64 --b cpu:f32 " + arguments);
  };
  const std::string given = fmt::format("--snapshot '{}'", snapshot.string());
  const Ran loose = compare(given + " --tolerance 1e-2 --json");
  ASSERT_EQ(loose.code, 0) << loose.output;
  const auto json = nlohmann::json::parse(loose.output);
  const double worst = json["worst"];
  EXPECT_GT(worst, 1e-9);
  std::set<std::string> phases;
  double most = 0;
  for (const auto& row : json["rows"]) {
    phases.insert(row["phase"]);
    most = std::max(most, row["difference"].get<double>());
  }
  EXPECT_EQ(phases, (std::set<std::string>{"Gmain", "Greg", "Dmain", "Dreg"}));
  EXPECT_EQ(worst, most);

  const Ran tight = compare(given + fmt::format(" --tolerance {}", worst / 2));
  EXPECT_EQ(tight.code, 1);
  EXPECT_MENTIONS(tight.output, "above the tolerance");
  EXPECT_MENTIONS(tight.output, "grad.synthesis.b8.conv0.weight");
}

TEST_F(GanCheck, ComparesFreshNetworksWithoutASnapshot) {
  const std::string small = "compare --resolution 8 --channel-base 64 --channel-max 8 --mapping-layers 1 --b cpu:f32 ";
  const Ran same = tool("gan-check", small + "--phases Dmain,Greg --tolerance 0");
  EXPECT_EQ(same.code, 0) << same.output;
  EXPECT_MENTIONS(same.output, "worst: 0.00e+00");
  EXPECT_EQ(same.output.find("Gmain"), std::string::npos);
  EXPECT_EQ(tool("gan-check", small + "--a cpu:bf16 --phases Gmain --tolerance 1e-6").code, 1);
  for (const char* wrong : {"--b cpu", "--b cpu:f16", "--a gpu:f32", "--phases Cmain", "--seed x"}) {
    const Ran ran = tool("gan-check", small + wrong);
    EXPECT_EQ(ran.code, 2) << wrong << ran.output;
    EXPECT_EQ(ran.lines(), 1) << ran.output;
  }
}

}  // namespace
}  // namespace firn
