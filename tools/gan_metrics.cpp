// gan-metrics: measures images against images, or every snapshot of a run, and plots what was measured.
#include <fmt/ranges.h>

#include <algorithm>
#include <climits>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "engine/threads.h"
#include "io/files.h"
#include "io/plot.h"
#include "kernels/choice/plan_store.h"
#include "tools/common.h"
#include "tools/metric_runs.h"
#include "tools/network.h"
#include "tools/numbers.h"
#include "tools/own_kernels.h"
#include "tools/progress.h"
#include "training/run/metric_log.h"

namespace fs = std::filesystem;
using namespace firn;

namespace {

constexpr const char* examples = R"(Examples:
  gan-metrics generated/ photos.zip --features mobilenet_v2-b0353104.pth --metrics fid,prdc
  gan-metrics snapshot-best.safetensors photos.zip --metrics fid5k_full,kid5k_full --json figures.json
  gan-metrics runs/00003-photos                       # every snapshot of a run, against what it was trained on
  gan-metrics runs/* --plot curves.svg                # what runs have measured, as curves

A metric is NAME[COUNT][NEAREST][_full|_holdout][-NETWORK][-VARIANT]: fid5k_full-mobilenetv2 compares 5000 generated
images with all real ones. docs/metrics.md says what each is; --list names them. FID and others need the published
weights of a network (--features), which are never downloaded; swd needs none.
)";

struct Arguments : tools::MetricArguments {
  std::vector<std::string> what;
  std::string json, plot, neighbours, device = "auto", precision = "fp32";
  int threads = 0;
  bool list = false;
};

void add_options(CLI::App& app, Arguments& a) {
  app.add_option("what", a.what,
                 "RUN, or IMAGES and the REALS that they are compared with: folder, zip, snapshot, run");
  tools::Group what(app, "What to measure");
  what.add("--metrics", a.metrics, "with commas between them [those of the run, or FID with --features, else swd]")
      ->delimiter(',');
  what.add("--features", a.features,
           "weights of a network that metrics use [those of the run, or by name in the folder $FIRN_WEIGHTS]");
  what.flag("--list", a.list, "say which metrics there are, and stop");
  tools::Group images(app, "Images");
  images.flag("--resize", a.resize, "centre-crop and resize images of other sizes");
  images.add("--resolution", a.resolution, "SIZE, with --resize [the commonest]")->check(tools::whole(0, 8192));
  images.add("--folder", a.folder, "only what lies in this folder of stored images");
  images.flag("--cond", a.cond, "read labels, which classfid needs");
  images.add("--seed", a.seed, "of generated images [0]");
  images.add("--trunc", a.trunc, "truncation psi of generated images")->check(tools::number(-1000, 1000));
  images.add("--weights", a.weights, "of snapshots: G_ema or G [G_ema where there is one]");
  tools::Group out(app, "Where to write");
  out.add("--json", a.json, "all figures, a list of what metric-NAME.jsonl has by the line; - for the console");
  out.add("--plot", a.plot, "curves of runs, as an SVG");
  out.add("--neighbours", a.neighbours, "a PNG of generated images over the real ones that are nearest");
  tools::Group machine(app, "Machine");
  machine.add("--device", a.device, "auto, cpu, cuda or cuda:INDEX")->capture_default_str();
  machine.add("--precision", a.precision, "of networks: fp32 or bf16")->capture_default_str();
  machine.add("--threads", a.threads, "CPU threads [all]")->check(tools::whole(0, 1024));
  tools::add_no_own_kernels(app)->group("Machine");
  app.footer(examples);
}

void list_metrics() {
  for (const Metric& m : metrics()) {
    fmt::print("{:<9} {}{}\n", m.name, m.title, m.network.empty() ? "" : fmt::format(" ({})", m.network));
    if (!m.also.empty()) fmt::print("{:<9} also {}\n", "", fmt::join(m.also, ", "));
  }
}

std::string table(const Evaluation& e) {
  std::string text;
  for (const MetricResult& r : e.metrics)
    for (const Score& s : r.scores) text += fmt::format("{:<44} {:>12.6g}   {:.1f} s\n", s.name, s.value, r.seconds);
  if (e.memorising) text += to_text(*e.memorising, e.memorising_in) + "\n";
  return text;
}

nlohmann::json to_json(const Evaluation& e, const std::string& what, int64_t images) {
  nlohmann::json list = nlohmann::json::array();
  for (const MetricResult& r : e.metrics) list.push_back(metric_record(r, what, images));
  if (e.memorising)
    list.push_back({{"metric", "copies"},
                    {"results", {{"copies", e.memorising->share}, {"copies_expected", e.memorising->expected}}},
                    {"memorised", e.memorising->flagged},
                    {"network", e.memorising_in},
                    {"images", images}});
  return list;
}

void check(const Arguments& a) {
  if (a.what.empty()) throw ConfigError("give a run, or images and what they are compared with; see --help");
  if (a.plot.empty() && a.what.size() > 2)
    throw ConfigError("one run, or images and reals, are measured at a time; several runs are for --plot");
  if (a.precision != "fp32" && a.precision != "bf16")
    throw ConfigError(fmt::format("--precision {}: there are fp32 and bf16", a.precision));
  if (std::ranges::count(a.metrics, "") > 0)
    throw ConfigError("--metrics: a name is empty; --list says which metrics there are");
  if (!a.neighbours.empty()) tools::require_png_name("--neighbours", a.neighbours);
  if (!a.weights.empty() && a.weights != "G" && a.weights != "G_ema")
    throw ConfigError(fmt::format("--weights {}: there are G and G_ema", a.weights));
}

class Meter {
 public:
  Meter(const Arguments& a, tools::Line& line)
      : a_(a),
        settings_{.features = weight_files(a.features),
                  .type = a.precision == "bf16" ? DType::bf16 : DType::f32,
                  .device = Device::from_name(a.device),
                  .cache = kernels::cache_folder() / "features",
                  .progress = [&line, this](const std::string& what, int64_t done, int64_t total) {
                    show(line, what, done, total);
                  }} {}

  int images_against_reals() {
    const auto fakes = tools::open_images(a_, a_.what[0], settings_.device),
               reals = tools::open_images(a_, a_.what[1], settings_.device);
    const auto names = tools::metric_names(a_, {}, settings_.features, fakes.images->size());
    require_left_out(names, nullptr, "only a run knows what it left out: give its folder alone");
    Comparison comparison(reals.images, nullptr, names, settings_);
    const Evaluation e = comparison(fakes.images, fakes.g.get());
    report(e, a_.what[0], 0);
    for (const auto& opened : {fakes, reals})
      if (opened.data)
        for (const auto& [name, reason] : opened.data->bad_images())
          fmt::print(stderr, "skipped {}: {}\n", printable(name), printable(reason));
    if (!a_.neighbours.empty() && e.memorising) save_png(a_.neighbours, comparison.neighbours_sheet(e));
    return 0;
  }

  int snapshots_of_run(tools::Line& line) {
    const fs::path run = a_.what[0];
    const tools::RunToMeasure of = tools::open_run(a_, run);
    if (a_.features.empty()) settings_.features = weight_files(of.features);
    const DirectoryLock lock(run);  // one process at a time writes to a run folder
    MetricLog log(run);
    const std::vector<MetricName> names = tools::metric_names(a_, of.metrics, settings_.features, INT64_MAX);
    require_left_out(names, of.left_out.get(), "this run left no images out of training (gan-train --holdout)");
    std::optional<Comparison> comparison;
    for (const auto& [images, file] : of.snapshots) {
      std::vector<MetricName> missing = names;
      std::erase_if(missing, [&](const MetricName& n) { return log.has(n, images); });
      if (missing.empty()) continue;
      if (!comparison) comparison.emplace(of.reals, of.left_out, names, settings_);
      const auto loaded = tools::load_generator(file, a_.weights, DType::f32, settings_.device);
      const auto fakes = tools::images_of(a_, loaded, of.seed, file.filename().string());
      const Evaluation e = (*comparison)(fakes, loaded.g.get(), missing);
      for (const MetricResult& r : e.metrics) log.add(r, file.filename().string(), images);
      line.clear();
      fmt::print("{}\n", file.filename().string());
      report(e, file.filename().string(), images);
    }
    for (const std::string& text : log.best_and_final()) fmt::print("{}\n", text);
    return 0;
  }

  // What was measured is written before what was not is an error.
  void finish() {
    const std::string text = all_.dump(2) + "\n";
    if (a_.json == "-")
      fmt::print("{}", text);
    else if (!a_.json.empty())
      write_text(a_.json, text);
    if (failures_.size() > 1) throw Error(fmt::format("{} (and {} more)", failures_[0], failures_.size() - 1));
    if (!failures_.empty()) throw Error(failures_[0]);
  }

 private:
  static void require_left_out(const std::vector<MetricName>& names, const ImageSet* left_out, const char* why) {
    for (const MetricName& name : names)
      if (name.against == Against::left_out && !left_out) throw ConfigError(fmt::format("{}: {}", name.text(), why));
  }

  void report(const Evaluation& e, const std::string& what, int64_t images) {
    if (a_.json != "-") fmt::print("{}", table(e));
    for (const nlohmann::json& record : to_json(e, what, images)) all_.push_back(record);
    for (const std::string& failure : e.failures) failures_.push_back(fmt::format("{}: {}", what, failure));
  }

  void show(tools::Line& line, const std::string& what, int64_t done, int64_t total) {
    const auto now = std::chrono::steady_clock::now();
    if (what != shown_) began_ = last_ = now;
    shown_ = what;
    if (done == total) return line.clear();
    if (now - last_ < (line.terminal() ? std::chrono::milliseconds(200) : std::chrono::seconds(30))) return;
    last_ = now;
    const double speed = double(done) / std::chrono::duration<double>(now - began_).count();
    line.show(fmt::format("{}: {}/{} images  {:.1f} img/s  eta {}", what, done, total, speed,
                          duration(double(total - done) / speed)));
  }

  const Arguments& a_;
  ComparisonSettings settings_;
  nlohmann::json all_ = nlohmann::json::array();
  std::vector<std::string> failures_;
  std::string shown_;
  std::chrono::steady_clock::time_point began_, last_;
};

int run(const Arguments& a) {
  if (a.list) return list_metrics(), 0;
  check(a);
  if (a.threads > 0) set_threads(a.threads);
  if (!a.plot.empty()) return tools::plot_runs(a.what, a.metrics, a.plot);
  tools::Line line;
  Meter meter(a, line);
  const int code = a.what.size() == 1 ? meter.snapshots_of_run(line) : meter.images_against_reals();
  line.clear();
  meter.finish();
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  firn::wait_politely(argv);
  return tools::guarded("gan-metrics", [&] {
    CLI::App app("Measures how good generated images are.", "gan-metrics");
    Arguments arguments;
    add_options(app, arguments);
    bool proceed;
    const int code = tools::parse(app, argc, argv, proceed);
    return proceed ? run(arguments) : code;
  });
}
