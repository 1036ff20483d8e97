// Pages about runs: what is in them, whatever state a run folder is in.
#include <nlohmann/json.hpp>
#include <random>

#include "tests/io/io_support.h"
#include "training/report/page.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

using Json = nlohmann::json;

// A run folder by hand.
class Folder {
 public:
  explicit Folder(fs::path dir) : dir_(std::move(dir)) { options({{"kimg", 4}, {"batch", 8}}); }
  const fs::path& dir() const { return dir_; }

  Folder& options(const Json& json) { return file("training_options.json", json.dump()); }
  Folder& file(const char* name, std::string_view text) { return put(dir_ / name, text), *this; }
  Folder& line(const char* name, const std::string& text) {
    std::ofstream(dir_ / name, std::ios::app) << text;
    return *this;
  }
  Folder& tick(int tick, double kimg, const Json& values) {
    Json record = {{"Progress/tick", {{"mean", tick}}}, {"Progress/kimg", {{"mean", kimg}}}, {"timestamp", 1764130000}};
    for (const auto& [name, value] : values.items()) record[name] = {{"num", 1}, {"mean", value}, {"std", 0}};
    return line("stats.jsonl", record.dump() + "\n");
  }
  Folder& metric(const char* name, int images, const Json& results, const Json& better) {
    const Json record = {
        {"results", results}, {"metric", name}, {"total_time", 10}, {"images", images}, {"better", better}};
    return line(fmt::format("metric-{}.jsonl", name).c_str(), record.dump() + "\n");
  }
  Folder& fid(int images, const Json& value) {
    return metric("fid5k", images, {{"fid5k", value}}, {{"fid5k", "lower"}});
  }
  Folder& copies(const char* sheet, int count) {  // fakes-000001.png and so on
    for (int i = 1; i <= count; ++i) fs::copy_file(dir_ / sheet, dir_ / fmt::format("fakes-{:06}.png", i));
    return *this;
  }
  Folder& sheet(const char* name, int width = 8, int height = 8, unsigned seed = 0) {
    Image image(width, height, 3);
    std::mt19937 random(seed);
    for (uint8_t& p : image.pixels) p = uint8_t(random());
    save_png(dir_ / name, image);
    return *this;
  }

 private:
  fs::path dir_;
};

struct Report : testing::Test {
  Scratch scratch;
  Folder run{scratch / "00000-set-small"};

  std::string page(std::vector<fs::path> dirs = {}) {
    if (dirs.empty()) dirs = {run.dir()};
    return report_page(read_runs(dirs));
  }
};

int count(std::string_view text, std::string_view part) {
  int n = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + part.size())) ++n;
  return n;
}

TEST_F(Report, HasCurvesSamplesOptionsAndCost) {
  for (int i = 0; i < 6; ++i)
    run.tick(i, i,
             {{"Loss/G/loss", 1.5 + i},
              {"Loss/D/loss", 0.5},
              {"Timing/Dmain", 12.0 + i},
              {"Timing/sec_per_tick", 60},
              {"Timing/images_per_sec", 20},
              {"Timing/maintenance_sec", 1},
              {"Resources/cpu_mem_gb", 0.5}});
  run.sheet("reals.png").sheet("fakes-init.png").sheet("fakes-000002.png").sheet("neighbours.png");
  run.file("log.txt", "tick 5\ndone: 5 kimg in 6m\n");
  const std::string html = page();
  for (const char* part : {"<h1>00000-set-small</h1>", "5 kimg, done", "Loss of G", "00000-set-small: 5.5 at 4 kimg",
                           "6m 00s", "<td>20</td>", "<td>15.0</td>", "0.50 GB", "<code>batch</code>",
                           "Nearest neighbours", "data-stops=\"0 2\"", "data-kimg=\"2\""})
    EXPECT_MENTIONS(html, part);
  EXPECT_EQ(count(html, "data:image/png;base64,"), 4);
  EXPECT_EQ(html.find("Not read"), html.npos);
}

TEST_F(Report, NothingIsFetchedAndTheScriptIsThePagesOwn) {
  run.tick(0, 1, {{"Loss/G/loss", 1}}).sheet("fakes-000001.png");
  const std::string html = page();
  EXPECT_EQ(count(html, "http"), count(html, "xmlns=\"http") + count(html, "http-equiv"));
  EXPECT_EQ(count(html, "<script"), 1);
  EXPECT_EQ(html.find(" src=\"") == html.npos ? 0 : count(html, " src=\""), count(html, " src=\"data:"));
  EXPECT_MENTIONS(html, "default-src 'none'");
  EXPECT_EQ(html.find("@import"), html.npos);
}

TEST_F(Report, BestIsByTheDirectionAndFinalIsTheLast) {
  run.fid(1000, 30).fid(2000, 20).fid(3000, 25);
  run.metric("pr", 1000, {{"precision", 0.7}, {"odd", 3}}, {{"precision", "higher"}});
  run.metric("pr", 2000, {{"precision", 0.5}, {"odd", 4}}, {{"precision", "higher"}});
  const std::string html = page();
  EXPECT_MENTIONS(html, "<td>20.00 <small>@ 2</small> / 25.00</td>");
  EXPECT_MENTIONS(html, "<td>0.7000 <small>@ 1</small> / 0.5000</td>");
  EXPECT_MENTIONS(html, "<td>4.000</td>");  // it has no best
  EXPECT_LT(html.find("fid5k"), html.find("odd"));
}

TEST_F(Report, TheBestOfAllRunsIsMarked) {
  Folder other(scratch / "00001-set-small");
  run.fid(1000, 30);
  other.fid(1000, 28).fid(2000, 29);
  const std::string html = page({run.dir(), other.dir()});
  EXPECT_MENTIONS(html, "<td>30.00 <small>@ 1</small> / 30.00</td>");
  EXPECT_MENTIONS(html, "<td><b>28.00</b> <small>@ 1</small> / 29.00</td>");
}

TEST_F(Report, TornAndRepeatedLinesOfKilledRunsAreReadAsMeant) {
  run.tick(0, 1, {{"Loss/G/loss", 7}})
      .line("stats.jsonl", "{\"Progress/tick\": {\"me\n")
      .tick(1, 2, {{"Loss/G/loss", 6}});
  run.tick(1, 2, {{"Loss/G/loss", 5}}).line("stats.jsonl", "{\"Progress/kimg\": {\"mean\": 3");
  run.fid(1000, 30).fid(2000, 99).fid(2000, 20).line("metric-fid5k.jsonl", "{\"results\": {\"fid5k\": 1");
  const RunRecord record = read_run(run.dir());
  EXPECT_EQ(record.stat("Loss/G/loss").value, (std::vector<double>{7, 5}));
  EXPECT_EQ(record.measure("fid5k")->curve.value, (std::vector<double>{30, 20}));
  EXPECT_EQ(record.remarks, std::vector<std::string>{"stats.jsonl: 1 line(s) could not be read"});
  EXPECT_MENTIONS(page(), "stats.jsonl: 1 line(s) could not be read");
}

TEST_F(Report, WhatIsNotFiniteIsAGapAndNoBest) {
  run.tick(0, 0.1, {{"Loss/G/loss", 1}}).tick(1, 1, {{"Loss/G/loss", nullptr}}).tick(2, 2, {{"Loss/G/loss", 3}});
  run.fid(1000, 30).fid(2000, nullptr);
  EXPECT_TRUE(std::isnan(read_run(run.dir()).stat("Loss/G/loss").value[1]));
  const std::string html = page();
  EXPECT_MENTIONS(html, "<td>30.00 <small>@ 1</small> / –</td>");
  EXPECT_EQ(html.find("nan"), html.npos);
  EXPECT_EQ(count(html, "<title>00000-set-small: 1 at 0.1 kimg"), 1);
}

TEST_F(Report, ARunThatHasHardlyBegunIsShown) {
  EXPECT_MENTIONS(page(), "no tick yet");
  run.tick(0, 0.008, {{"Loss/G/loss", 1.25}});
  const std::string html = page();
  EXPECT_MENTIONS(html, "0.008 kimg, no end yet, last tick 2025-11-26 04:06 UTC");
  EXPECT_MENTIONS(html, "00000-set-small: 1.25 at 0.008 kimg");
  for (const char* absent :
       {"id=\"results\"", "id=\"samples\"", "id=\"metrics\"", "id=\"neighbours\"", "id=\"freezing\""})
    EXPECT_EQ(html.find(absent), html.npos) << absent;
}

TEST_F(Report, BrokenFilesAreNamed) {
  run.tick(0, 1, {{"Loss/G/loss", 1}}).file("training_options.json", "{").file("summary.json", "[1]");
  run.file("fakes-000001.png", "no picture").sheet("fakes-000002.png");
  const std::string html = page();
  for (const char* part : {"training_options.json: invalid JSON", "summary.json: no JSON object", "fakes-000001.png"})
    EXPECT_MENTIONS(html, part);
  EXPECT_EQ(count(html, "data:image/png"), 1);
}

TEST_F(Report, TextFromFilesIsText) {
  const std::string evil = "<script>alert(1)</script>";
  Folder other(scratch / "00001-<img src=x onerror=alert(1)>");
  for (Folder* f : {&run, &other}) {
    f->options({{"init", evil}, {evil, 1}, {"freeze", {{"blocks", 1}, {"patterns", {evil}}}}});
    f->tick(0, 1, {{"Loss/" + evil, 1}, {"Timing/" + evil, 1}, {"Loss/G/loss", 1}});
    f->metric("m", 1000, {{evil, 3}}, {{evil, "lower"}});
    f->file("log.txt",
            "D:\n" + evil + ".weight  [1]  1  frozen\n1 of 2 numbers train, 1 are frozen\nerror: " + evil + "\n");
    f->sheet("fakes-000001.png").file("fakes-000002.png", evil);
  }
  const std::string html = page({run.dir(), other.dir()});
  EXPECT_EQ(count(html, "<script"), 1);
  EXPECT_EQ(count(html, "<img"), count(html, "<img src=\"data:"));
  EXPECT_MENTIONS(html, "&lt;script&gt;alert(1)&lt;/script&gt;");
  EXPECT_MENTIONS(html, "failed: &lt;script&gt;");
}

TEST_F(Report, SheetsOfLongRunsAreSpreadEvenlyAndStayBelowTheLimit) {
  run.sheet("reals.png", 64, 64).copies("reals.png", 200);
  std::vector<RunRecord> runs = read_runs({run.dir()});
  constexpr int64_t limit = 400'000;  // a sheet has 12 kB
  const RunPictures pictures = album_of(runs, limit).front();
  EXPECT_GT(pictures.frames.size(), 20u);
  EXPECT_EQ(pictures.frames.size() + pictures.left_out, 200u);
  EXPECT_EQ(pictures.frames.front().kimg, 1);
  EXPECT_EQ(pictures.frames.back().kimg, 200);
  for (size_t i = 1; i < pictures.frames.size(); ++i)
    EXPECT_LT(pictures.frames[i].kimg - pictures.frames[i - 1].kimg, 14);
  size_t bytes = pictures.reals->uri.size();
  for (const auto& frame : pictures.frames) bytes += frame.picture.uri.size();
  EXPECT_LT(bytes * 3 / 4, size_t(limit));
  const std::string html = page();
  EXPECT_MENTIONS(html, "Left out to keep the page small: 100 of the 200 sheets; the others are spread evenly.");
}

TEST_F(Report, RunsWithFewSheetsLeaveRoomToOthers) {
  Folder other(scratch / "00001-set-small");
  other.sheet("fakes-000001.png", 8, 8);
  run.sheet("reals.png", 64, 64).copies("reals.png", 40);
  std::vector<RunRecord> runs = read_runs({run.dir(), other.dir()});
  EXPECT_GT(album_of(runs, 400'000).front().frames.size(), 25u);
}

TEST_F(Report, LargeSheetsAreCutToWholeImages) {
  run.options({{"model", {{"width", 32}, {"height", 32}}}}).sheet("fakes-000001.png", 320, 320);  // of 300 kB
  std::vector<RunRecord> runs = read_runs({run.dir()});
  const Picture picture = album_of(runs, 400'000).front().frames.front().picture;
  EXPECT_FALSE(picture.whole);
  EXPECT_LT(picture.uri.size(), 140'000u);
  EXPECT_EQ(picture.width % 32, 0);
  EXPECT_EQ(picture.height % 32, 0);
  EXPECT_LT(picture.width, 320);
}

TEST_F(Report, RunsAreToldApartByWhatTheirNamesDoNotShare) {
  const auto labels = [&](const std::vector<const char*>& names) {
    std::vector<fs::path> dirs;
    for (const char* name : names) dirs.push_back(Folder(scratch / name).dir());
    std::vector<std::string> found;
    for (const RunRecord& r : read_runs(dirs)) found.push_back(r.label);
    return found;
  };
  using Labels = std::vector<std::string>;
  EXPECT_EQ(labels({"00003-anime-64-small-kimg40-init", "00004-anime-64-small-kimg40-init-freezeD2blocks"}),
            (Labels{"00003", "00004-freezeD2blocks"}));
  EXPECT_EQ(labels({"00000-freeze-0", "00001-freeze-2"}), (Labels{"00000-freeze-0", "00001-freeze-2"}));
  EXPECT_EQ(labels({"00005-anime-64-small-kimg40-init"}), Labels{"00005"});
  const Labels twins = labels({"a/00000-anime-64-small-kimg40", "b/00000-anime-64-small-kimg40"});
  EXPECT_NE(twins[0], twins[1]);
  EXPECT_EQ(labels({"00000-freeze-0", "00000-freeze-0"}).size(), 1u);
}

TEST_F(Report, OneSliderStopsWhereAnyRunHasASheet) {
  Folder other(scratch / "00001-set-small");
  run.sheet("fakes-000010.png").sheet("fakes-000020.png").sheet("fakes-000200.png").sheet("reals.png");
  other.sheet("fakes-000010_080.png").sheet("fakes-000150.png").sheet("reals.png");
  const std::string html = page({run.dir(), other.dir()});
  EXPECT_MENTIONS(html, "data-stops=\"10.08 20 150 200\"");
  EXPECT_EQ(count(html, "class=\"film\""), 2);
  EXPECT_EQ(count(html, " hidden>"), 4);  // the slider, and all sheets but the last of each run
  EXPECT_EQ(count(html, "alt=\"images of the data\""), 1);
}

TEST_F(Report, OptionsThatDifferAreShownAndAllAreThere) {
  Folder other(scratch / "00001-set-small");
  run.options({{"lr", 0.002}, {"batch", 8}, {"freeze", {{"blocks", 0}}}});
  other.options({{"lr", 0.001}, {"batch", 8}, {"freeze", {{"blocks", 2}}}, {"report", true}});
  const std::string html = page({run.dir(), other.dir()});
  EXPECT_EQ(count(html, "<code>batch</code>"), 1);  // only among all
  for (const char* key : {"lr", "freeze.blocks", "report"})
    EXPECT_EQ(count(html, fmt::format("<code>{}</code>", key)), 2) << key;
  EXPECT_MENTIONS(html, "<td>0.002</td><td>0.001</td>");
  EXPECT_MENTIONS(html, "All 4 options");
}

TEST_F(Report, FreezingIsThatOfTheLog) {
  run.options({{"freeze", {{"blocks", 2}}}}).tick(0, 1, {{"Timing/Dmain", 12.5}, {"Timing/Gmain", 3}});
  const std::string table =
      "D:\nblock1.c1.weight  [64,3,3,3]  1728  frozen\nblock2.c1.weight  [64]  64  frozen\n"
      "block2.c1.bias  [64]  64\nblock3.c1.bias  [64]  64\n"
      "128 of 1920 numbers train, 1792 are frozen; 74.1 % of the backward multiplications are gone\n";
  run.file("log.txt", table + "tick 0\nstopped; go on with\n" + table + "tick 1\n");  // resumed
  const LogRecord log = read_run(run.dir()).log;
  ASSERT_EQ(log.frozen.size(), 1u);
  EXPECT_EQ(log.frozen[0].rows.size(), 4u);
  EXPECT_EQ(log.end, RunEnd::none);
  const std::string html = page();
  for (const char* part : {"<code>--freeze-d 2</code>", "D: block1, part of block2", "1,792 of 1,920", "74.1 %",
                           "<td>12.5</td>", "block1.c1.weight  [64,3,3,3]  1728  frozen"})
    EXPECT_MENTIONS(html, part);
}

TEST_F(Report, EndsAreThoseOfTheLog) {
  EXPECT_EQ(read_log("done: 4 kimg\n").end, RunEnd::done);
  EXPECT_EQ(read_log("tick 3\nstopped; go on\n").end, RunEnd::stopped);
  EXPECT_EQ(read_log("stopped; go on\nresumed\ntick 4\n").end, RunEnd::none);
  const LogRecord failed = read_log("tick 3\nerror: the run diverged\n");
  EXPECT_EQ(failed.end, RunEnd::failed);
  EXPECT_EQ(failed.last_words, "the run diverged");
  EXPECT_EQ(read_log("").end, RunEnd::none);
}

TEST_F(Report, CostsOfAllSittingsAreSummed) {
  for (int i = 0; i < 3; ++i)  // the clock of the run began anew at each
    run.tick(i, i + 1,
             {{"Timing/sec_per_tick", 100},
              {"Timing/images_per_sec", 10},
              {"Timing/total_sec", 100},
              {"Timing/maintenance_sec", 20}});
  const std::string html = page();
  EXPECT_MENTIONS(html, "<td>5m 00s</td><td>1m 00s</td>");
}

TEST_F(Report, ManyMeasuresAreFoldedAndCapped) {
  Json results, better;
  for (int i = 0; i < 300; ++i) {
    results[fmt::format("fid_class{:03}", i)] = 10 + i;
    better[fmt::format("fid_class{:03}", i)] = "lower";
  }
  run.metric("per_class", 1000, results, better);
  const std::string html = page();
  EXPECT_MENTIONS(html, "36 more");
  EXPECT_MENTIONS(html, "252 more measures");
  EXPECT_LT(html.size(), 300'000u);
}

TEST_F(Report, EvaluationsWithoutImagesAreNumberedByTheirSnapshot) {
  run.line("metric-old.jsonl", "{\"results\": {\"a\": 1}, \"snapshot_pkl\": \"network-snapshot-000200.pkl\"}\n");
  run.line("metric-old.jsonl", "{\"results\": {\"a\": 2}, \"snapshot_pkl\": \"snapshot-000201_500.safetensors\"}\n");
  EXPECT_EQ(read_run(run.dir()).measure("a")->curve.kimg, (std::vector<double>{200, 201.5}));
}

TEST_F(Report, WhatIsNoRunIsRefused) {
  fs::create_directories(scratch / "runs/empty");
  EXPECT_MENTIONS(message_of([&] { read_run(scratch / "nowhere"); }), "does not exist");
  EXPECT_MENTIONS(message_of([&] { read_run(scratch / "runs/empty"); }), "neither training_options.json");
  EXPECT_MENTIONS(message_of([&] { read_run(run.dir() / "training_options.json"); }), "no run folder");
}

}  // namespace
}  // namespace firn
