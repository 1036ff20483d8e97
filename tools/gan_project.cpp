// gan-project: the styles that a generator makes given images of, with what users of NVIDIA's projector expect of
// files.
#include <fmt/ranges.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/text.h"
#include "engine/threads.h"
#include "io/dataset.h"
#include "io/film.h"
#include "io/npz.h"
#include "io/weights.h"
#include "metrics/comparison.h"
#include "models/sampling.h"
#include "tools/common.h"
#include "tools/network.h"
#include "tools/numbers.h"
#include "tools/own_kernels.h"
#include "tools/progress.h"
#include "training/latents/projector.h"

namespace fs = std::filesystem;
using namespace firn;

namespace {

constexpr const char* examples = R"(Examples:
  gan-project snapshot-best.safetensors --target photo.png --outdir projected
  gan-project snapshot-best.safetensors --target photos/ --space w+ --noise --outdir projected   # a folder each
  gan-sample --snapshot snapshot-best.safetensors --latents projected/projected_w.npz --grid again.png

Images are compared by LPIPS where the weights of VGG16 or SqueezeNet and of LPIPS on it are named with --features or
lie in the folder $FIRN_WEIGHTS, and by their pixels (--pixel); docs/projection.md says more.
)";

struct Arguments {
  std::string snapshot, target, outdir, space = "w", weights, save_video = "auto", device = "auto", precision = "fp32";
  std::vector<std::string> features;
  ProjectionOptions projection;
  double pixel = -1;
  int batch = 8, threads = 0;
};

void add_options(CLI::App& app, Arguments& a) {
  app.add_option("snapshot", a.snapshot, "a snapshot of gan-train, or its run folder")->required();
  tools::Group what(app, "What to project");
  what.add("--target", a.target, "an image, or a folder or zip of them; other sizes are cropped and resized")
      ->required();
  what.add("--outdir", a.outdir, "a folder for what is found; of several images a folder in it each")->required();
  what.add("--class", a.projection.klass, "class to begin in, for conditional networks [all]")
      ->check(tools::whole(0, 65535));
  what.add("--weights", a.weights, "G_ema, the average, or G [G_ema where there is one]");
  tools::Group how(app, "How");
  how.add("--space", a.space, "w: one style for all layers; w+: one for each")->capture_default_str();
  how.flag("--noise", a.projection.noise, "find maps of noise, too; else noise stays constant");
  how.add("--steps,--num-steps", a.projection.steps, "of Adam")->capture_default_str()->check(tools::whole(1, 1000000));
  how.add("--lr", a.projection.lr, "its rate, between the ramps")
      ->capture_default_str()
      ->check(tools::number(1e-6, 100));
  how.add("--pixel", a.pixel, "weight of the mean square of pixels' differences beside LPIPS [0.1; 1 without LPIPS]")
      ->check(tools::number(0, 1e6));
  how.add("--features", a.features, "weights of LPIPS and its network [by name in the folder $FIRN_WEIGHTS]");
  how.add("--seed", a.projection.seed, "of all that is random")->capture_default_str();
  how.add("--save-video", a.save_video, "auto: proj.mp4 where ffmpeg is installed; true: else its frames; false: none")
      ->capture_default_str();
  tools::Group machine(app, "Machine");
  machine.add("--device", a.device, "auto, cpu, cuda or cuda:INDEX")->capture_default_str();
  machine.add("--precision", a.precision, "fp32 or bf16")->capture_default_str();
  machine.add("--batch", a.batch, "images side by side")->capture_default_str()->check(tools::whole(1, 1024));
  machine.add("--threads", a.threads, "CPU threads [all]")->check(tools::whole(0, 1024));
  tools::add_no_own_kernels(app)->group("Machine");
  app.footer(examples);
}

void check(const Arguments& a) {
  const auto one_of = [](const char* option, const std::string& value, std::initializer_list<const char*> all) {
    if (std::ranges::count(all, value) == 0)
      throw ConfigError(fmt::format("{} {}: there are {}", option, printable(value), fmt::join(all, ", ")));
  };
  one_of("--space", a.space, {"w", "w+"});
  one_of("--save-video", a.save_video, {"auto", "true", "false"});
  one_of("--precision", a.precision, {"fp32", "bf16"});
  if (!a.weights.empty()) one_of("--weights", a.weights, {"G", "G_ema"});
}

constexpr const char* kRecord = "projections.json";

struct Target {
  fs::path folder;  // of what is found
  Image image;      // of the network's size and channels
};

// All of the folder, or the one image.
class Targets {
 public:
  Targets(const Arguments& a, const ImageShape& shape) : a_(a), shape_(shape) {
    std::error_code none;
    const bool one =
        fs::is_regular_file(a.target, none) && lower_case(fs::path(a.target).extension().string()) != ".zip";
    if (one) return;
    set_.emplace(DatasetOptions{.path = a.target,
                                .width = int(shape.width),
                                .height = int(shape.height),
                                .channels = int(shape.channels),
                                .resize = true,
                                .use_labels = false,
                                .folder = "."});
    for (const std::string& note : set_->notes()) fmt::print("{}\n", printable(note));
    for (const auto& [name, reason] : set_->bad_images())
      fmt::print("skipped: {}: {}\n", printable(name), printable(reason));
    std::set<fs::path> taken = {kRecord};  // which stands beside them
    for (int64_t i = 0; i < set_->size(); ++i) {
      const fs::path name = set_->name(i), bare = fs::path(name).replace_extension();
      folders_.push_back(taken.insert(bare).second ? bare : name);
    }
  }
  int64_t size() const { return set_ ? set_->size() : 1; }
  Target at(int64_t i) const {
    if (set_) return {fs::path(a_.outdir) / folders_[size_t(i)], set_->load(i)};
    const Image image = to_channels(load_image(a_.target), int(shape_.channels));
    return {a_.outdir, center_crop_resize(image, int(shape_.width), int(shape_.height))};
  }

 private:
  const Arguments& a_;
  ImageShape shape_;
  std::optional<Dataset> set_;
  std::vector<fs::path> folders_;
};

// LPIPS on the first network that all weights are there for.
class PerceptualDistance {
 public:
  PerceptualDistance(const Arguments& a, const Device& device) {
    const WeightFiles files = weight_files(a.features);
    for (const char* name : {"vgg16", "squeezenet"}) {
      try {
        const fs::path heads = heads_for(name, files);
        const FeatureWeights weights = files.find(name);
        network_ = load_features(weights, {.type = a.precision == "bf16" ? DType::bf16 : DType::f32}, device);
        lpips_.emplace(*network_, read_weights(heads));
        name_ = name;
        return;
      } catch (const SystemError&) {
        throw;
      } catch (const IoError& e) {
        missing_ = e.what();
      }
    }
    if (!a.features.empty()) throw IoError(missing_);
  }
  const Lpips* get() const { return lpips_ ? &*lpips_ : nullptr; }
  const std::string& name() const { return name_; }
  const std::string& missing() const { return missing_; }

 private:
  std::unique_ptr<FeatureNetwork> network_;
  std::optional<Lpips> lpips_;
  std::string name_, missing_;
};

struct Result {
  fs::path folder;
  double psnr, distance;
};

class Session {
 public:
  Session(const Arguments& a, tools::StopRequest& stop) : a_(a), stop_(stop), device_(Device::from_name(a.device)) {
    loaded_ = tools::load_generator(a.snapshot, a.weights, a.precision == "bf16" ? DType::bf16 : DType::f32, device_);
    g_ = dynamic_cast<const StyleGenerator*>(loaded_.g.get());
    if (!g_)
      throw ConfigError(fmt::format(
          "{}: this network is not style-based: it has no w that images could be projected to", a.snapshot));
    if (a.projection.klass >= g_->classes())
      throw ConfigError(g_->classes() ? fmt::format("--class {}: the network has classes 0 to {}", a.projection.klass,
                                                    g_->classes() - 1)
                                      : std::string("--class: the network is not conditional"));
    lpips_.emplace(a, device_);
    options_ = a.projection;
    options_.plus = a.space == "w+";
    options_.pixels = a.pixel >= 0 ? a.pixel : lpips_->get() ? 0.1 : 1;
    if (!lpips_->get()) fmt::print("images are compared by their pixels alone: {}\n", lpips_->missing());
  }

  int run() {
    const Targets targets(a_, loaded_.source.model.images());
    filmed_ = a_.save_video == "true" || (a_.save_video == "auto" && Film::has_ffmpeg());
    if (!Film::has_ffmpeg() && a_.save_video == "true")
      fmt::print("ffmpeg is not installed: the frames of films become pictures\n");
    make_directories(a_.outdir);
    stop_.note_first();
    for (int64_t next = 0; next < targets.size() && !stop_.signal();) {
      std::vector<Target> some;
      while (next < targets.size() && std::ssize(some) < a_.batch) try {
          some.push_back(targets.at(next++));
        } catch (const SystemError&) {
          throw;
        } catch (const IoError& e) {
          if (targets.size() == 1) throw;
          line_.say(fmt::format("skipped: {}", printable(e.what())));
        }
      if (!some.empty()) project(some, next - std::ssize(some), targets.size());
    }
    report();
    return stop_.signal() ? 128 + stop_.signal() : 0;
  }

 private:
  Tensor tensor_of(const std::vector<Target>& targets) const {
    std::vector<float> values;
    for (const Target& t : targets)
      for (const uint8_t v : t.image.pixels) values.push_back(float(v) / 127.5f - 1);
    const Image& first = targets[0].image;
    return Tensor::from(std::span<const float>(values),
                        {std::ssize(targets), first.height, first.width, first.channels}, g_->type(), device_);
  }

  void project(const std::vector<Target>& targets, int64_t begin, int64_t all) {
    Projector projector(*g_, tensor_of(targets), lpips_->get(), options_);
    std::vector<std::unique_ptr<Film>> films;
    for (const Target& t : targets) {
      make_directories(t.folder);
      save_png(t.folder / "target.png", t.image);
      if (filmed_) films.push_back(std::make_unique<Film>(t.folder / "proj.mp4", kFramesASecond));
    }
    const int frame_every = std::max(1, options_.steps / kFrames);
    using Clock = std::chrono::steady_clock;
    const auto began = Clock::now();
    auto shown = began;
    while (!projector.done() && !stop_.signal()) {
      projector.step();
      const int done = projector.steps_done();
      if (!films.empty() && done % frame_every == 0) {
        const std::vector<Image> made = to_images(projector.seen());
        for (size_t i = 0; i < films.size(); ++i) films[i]->add(grid(std::vector{targets[i].image, made[i]}, 2));
      }
      const auto now = Clock::now();
      if (now - shown < (line_.terminal() ? std::chrono::milliseconds(200) : std::chrono::seconds(30))) continue;
      shown = now;
      const std::vector<double> distances = projector.distances();
      const double speed = done / std::chrono::duration<double>(now - began).count();
      line_.show(fmt::format("image {}{} of {}  step {}/{}  distance {:.4f}  {:.1f} steps/s  eta {}", begin + 1,
                             targets.size() > 1 ? fmt::format("-{}", begin + std::ssize(targets)) : "", all, done,
                             options_.steps, distances[0], speed, duration((options_.steps - done) / speed)));
    }
    line_.clear();
    if (projector.steps_done() == 0) return;
    save(targets, projector);
    for (auto& film : films) film->finish();
  }

  void save(const std::vector<Target>& targets, const Projector& projector) {
    projector.distances();  // an Error where they are not finite
    const Tensor ws = projector.ws(), made = projector.images();
    const std::vector<Image> images = to_images(made);
    const std::vector<double> distances =
        lpips_->get() ? projector.perceived(made).to_doubles() : std::vector<double>(targets.size(), NAN);
    const auto one = [](const Tensor& t, size_t i) {
      const NoGrad no_grad;
      const Tensor part = slice(t.detach(), 0, int64_t(i), int64_t(i) + 1);
      return StoredTensor::of(std::span<const float>(part.to_floats()), part.shape());
    };
    for (size_t i = 0; i < targets.size(); ++i) {
      const fs::path& folder = targets[i].folder;
      save_png(folder / "proj.png", images[i]);
      SafetensorsFile file;
      file.tensors["w"] = one(ws, i);
      write_npz(folder / "projected_w.npz", file);
      file.tensors = {{"ws", one(ws, i)}};
      for (size_t k = 0; k < projector.noise().size(); ++k)
        file.tensors[fmt::format("noise.{}", k)] = one(projector.noise()[k], i);
      write_safetensors(folder / "projected_w.safetensors", file);
      results_.push_back({folder, psnr(targets[i].image, images[i]), distances[i]});
    }
  }

  void report() {
    nlohmann::json list = nlohmann::json::array();
    size_t width = 6;
    for (const Result& r : results_) width = std::max(width, r.folder.string().size());
    if (!results_.empty()) fmt::print("{:<{}}  {:>9}  {:>9}\n", "folder", width, "PSNR [dB]", "LPIPS");
    for (const Result& r : results_) {
      const bool perceived = std::isfinite(r.distance);
      fmt::print("{:<{}}  {:>9.2f}  {:>9}\n", printable(r.folder.string()), width, r.psnr,
                 perceived ? fmt::format("{:.4f}", r.distance) : "-");
      nlohmann::json record = {{"folder", r.folder.string()}, {"psnr", r.psnr}};
      if (perceived) record["lpips"] = r.distance;
      list.push_back(record);
    }
    const nlohmann::json all = {{"snapshot", a_.snapshot},   {"space", a_.space},        {"steps", options_.steps},
                                {"noise", options_.noise},   {"pixel", options_.pixels}, {"seed", options_.seed},
                                {"network", lpips_->name()}, {"projections", list}};
    write_text(fs::path(a_.outdir) / kRecord, all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    if (stop_.signal())
      line_.say(results_.empty() ? "stopped; nothing was reached yet" : "stopped; what was reached is kept");
  }

  static constexpr int kFrames = 250, kFramesASecond = 25;
  const Arguments& a_;
  tools::StopRequest& stop_;
  Device device_;
  tools::LoadedGenerator loaded_;
  const StyleGenerator* g_ = nullptr;
  std::optional<PerceptualDistance> lpips_;
  ProjectionOptions options_;
  bool filmed_ = false;
  tools::Line line_;
  std::vector<Result> results_;
};

}  // namespace

int main(int argc, char** argv) {
  firn::wait_politely(argv);
  return tools::guarded("gan-project", [&](tools::StopRequest& stop) {
    CLI::App app("Finds the styles that a generator makes given images of.", "gan-project");
    Arguments arguments;
    add_options(app, arguments);
    bool proceed;
    const int code = tools::parse(app, argc, argv, proceed);
    if (!proceed) return code;
    check(arguments);
    if (arguments.threads > 0) set_threads(arguments.threads);
    return Session(arguments, stop).run();
  });
}
