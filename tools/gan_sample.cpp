// gan-sample: images from a snapshot: by seeds or given latents, as a grid or single files, mixed or interpolated.
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "engine/threads.h"
#include "io/files.h"
#include "kernels/provider_numerics.h"
#include "tools/common.h"
#include "training/feed.h"
#include "training/sampling.h"
#include "training/snapshot.h"
#include "training/source.h"

namespace fs = std::filesystem;
using namespace firn;

namespace {

constexpr const char* examples = R"(Examples:
  gan-sample --snapshot S --seeds 0-15 --trunc 0.7 --grid samples.png
  gan-sample --snapshot S --seeds 0-999 --outdir samples              # one file a seed: samples/seed0000.png
  gan-sample --snapshot S --mix-rows 1,2,3 --mix-cols 10-15 --mix-layers 0-3 --grid mixed.png
  gan-sample --snapshot S --seeds 1,2,3 --interpolate 60 --outdir frames   # 60 frames between neighbours, then back
  gan-sample --snapshot S --latents w.safetensors --raw images.safetensors
)";

struct Arguments {
  std::string snapshot, grid, outdir, raw, latents, title, mix_rows, mix_cols, mix_layers = "0-6";
  std::string seeds = "0-15", noise = "const", weights = "G_ema", device = "auto", precision = "fp32";
  double trunc = 1;
  int trunc_cutoff = -1, klass = -1, interpolate = 0, columns = 0, batch = 16, threads = 0;
};

void add_options(CLI::App& app, Arguments& a) {
  tools::Group network(app, "Network");
  network.add("--snapshot,--network", a.snapshot, "a snapshot of gan-train")->required();
  network.add("--weights", a.weights, "G_ema, the average, or G")->capture_default_str();
  tools::Group what(app, "What to show");
  what.add("--seeds", a.seeds, "one image a seed, like 0-15,20")->capture_default_str();
  what.add("--class", a.klass, "class, for conditional networks; without it all in turn");
  what.add("--trunc", a.trunc, "truncation psi: below 1 more typical, less varied")->capture_default_str();
  what.add("--trunc-cutoff", a.trunc_cutoff, "truncate that many of the first layers only [all]");
  what.add("--noise-mode", a.noise, "const, random or none")->capture_default_str();
  what.add("--latents", a.latents, "safetensors with `z` [N,z_dim] or `ws` [N,num_ws,w_dim], instead of seeds");
  what.add("--mix-rows", a.mix_rows, "style mixing: seeds of the rows, which give what --mix-layers leaves");
  what.add("--mix-cols", a.mix_cols, "style mixing: seeds of the columns");
  what.add("--mix-layers", a.mix_layers, "style mixing: layers taken from the column")->capture_default_str();
  what.add("--interpolate", a.interpolate, "frames from each seed to the next, and from the last to the first");
  tools::Group out(app, "Where to write");
  out.add("--grid", a.grid, "one PNG with all images");
  out.add("--columns", a.columns, "of the grid [as square as possible]");
  out.add("--title", a.title, "above the grid");
  out.add("--outdir", a.outdir, "a folder of single PNGs");
  out.add("--raw", a.raw, "safetensors with `images` [N,C,H,W], not clamped");
  tools::Group machine(app, "Machine");
  machine.add("--device", a.device, "auto, cpu, cuda or cuda:INDEX")->capture_default_str();
  machine.add("--precision", a.precision, "fp32 or bf16")->capture_default_str();
  machine.add("--batch", a.batch, "images at once")->capture_default_str();
  machine.add("--threads", a.threads, "CPU threads [all]");
  app.footer(examples);
}

NoiseMode noise_mode(const std::string& name) {
  if (name == "const") return NoiseMode::constant;
  if (name == "random") return NoiseMode::random;
  if (name == "none") return NoiseMode::none;
  throw ConfigError(fmt::format("--noise-mode {}: there are const, random and none", name));
}

void check(const Arguments& a) {
  const bool mixing = !a.mix_rows.empty() || !a.mix_cols.empty();
  if (a.grid.empty() && a.outdir.empty() && a.raw.empty())
    throw ConfigError("nothing to write: give --grid, --outdir or --raw");
  if (a.mix_rows.empty() != a.mix_cols.empty()) throw ConfigError("style mixing needs --mix-rows and --mix-cols");
  if (int(mixing) + int(a.interpolate > 0) + int(!a.latents.empty()) > 1)
    throw ConfigError("--latents, --mix-rows and --interpolate exclude each other");
  if (a.weights != "G" && a.weights != "G_ema")
    throw ConfigError(fmt::format("--weights {}: there are G and G_ema", a.weights));
  if (a.precision != "fp32" && a.precision != "bf16")
    throw ConfigError(fmt::format("--precision {}: there are fp32 and bf16", a.precision));
  if (a.interpolate < 0 || a.columns < 0 || a.batch < 1 || a.threads < 0 || a.klass < -1 || a.trunc_cutoff < -1)
    throw ConfigError("numbers of images must be positive");
  if (!a.grid.empty() && a.grid == a.raw) throw ConfigError("--grid and --raw name the same file");
  if (!std::isfinite(a.trunc)) throw ConfigError("--trunc must be a number");
}

class Sampler {
 public:
  Sampler(const Arguments& a, const StyleGan2Generator& g, const std::vector<int>& classes)
      : a_(a), g_(g), m_(g.options()), classes_(classes), truncation_{a.trunc, a.trunc_cutoff} {
    if (a.klass >= 0 && a.klass >= m_.c_dim)
      throw ConfigError(m_.c_dim ? fmt::format("--class {}: the network has classes 0 to {}", a.klass, m_.c_dim - 1)
                                 : std::string("--class: the network is not conditional"));
  }

  // One image a row of ws, and how many make a row of the picture (0: any).
  struct Result {
    Tensor ws;
    int columns = 0;
    std::vector<std::string> names;
  };

  Result by_seed(const std::vector<int64_t>& seeds) const {
    Result r{.ws = of_seeds(seeds)};
    for (const int64_t seed : seeds) r.names.push_back(fmt::format("seed{:04}", seed));
    return r;
  }

  // The corner stays out: the first row and column show what is mixed.
  Result mixed() const {
    const auto rows = tools::parse_numbers(a_.mix_rows, "--mix-rows"),
               cols = tools::parse_numbers(a_.mix_cols, "--mix-cols");
    const auto layers = tools::parse_numbers(a_.mix_layers, "--mix-layers");
    for (const int64_t layer : layers)
      if (layer >= m_.num_ws())
        throw ConfigError(fmt::format("--mix-layers {}: the network has layers 0 to {}", layer, m_.num_ws() - 1));
    const Tensor row_ws = of_seeds(rows), col_ws = of_seeds(cols);
    const NoGrad no_grad;
    Result r{.columns = int(cols.size()) + 1};
    std::vector<Tensor> all = {g_.broadcast(Tensor::zeros({1, m_.w_dim}, m_.type, g_.device()), {.psi = 0}), col_ws};
    r.names.push_back("mean");
    for (const int64_t c : cols) r.names.push_back(fmt::format("col{:04}", c));
    for (size_t i = 0; i < rows.size(); ++i) {
      const Tensor row = slice(row_ws, 0, int64_t(i), int64_t(i) + 1);
      all.push_back(row);
      r.names.push_back(fmt::format("row{:04}", rows[i]));
      for (size_t j = 0; j < cols.size(); ++j) {
        const Tensor col = slice(col_ws, 0, int64_t(j), int64_t(j) + 1);
        std::vector<Tensor> by_layer;
        for (int64_t k = 0; k < m_.num_ws(); ++k)
          by_layer.push_back(slice(std::ranges::count(layers, k) ? col : row, 1, k, k + 1));
        all.push_back(concat(by_layer, 1));
        r.names.push_back(fmt::format("{:04}-{:04}", rows[i], cols[j]));
      }
    }
    r.ws = concat(all, 0);
    return r;
  }

  Result interpolated(const std::vector<int64_t>& seeds) const {
    const Tensor keys = of_seeds(seeds);
    const NoGrad no_grad;
    Result r;
    std::vector<Tensor> frames;
    for (int64_t i = 0; i < keys.dim(0); ++i) {
      const int64_t j = (i + 1) % keys.dim(0);
      for (int f = 0; f < a_.interpolate; ++f) {
        const double t = double(f) / a_.interpolate;
        frames.push_back(slice(keys, 0, i, i + 1) * (1 - t) + slice(keys, 0, j, j + 1) * t);
        r.names.push_back(fmt::format("frame{:05}", r.names.size()));
      }
    }
    r.ws = concat(frames, 0);
    return r;
  }

  Result from_file() const {
    const SafetensorsFile file = read_safetensors(a_.latents);
    const bool has_ws = file.contains("ws");
    const StoredTensor& t = file.at(has_ws ? "ws" : "z");
    const Shape want = has_ws ? Shape{0, m_.num_ws(), m_.w_dim} : Shape{0, m_.z_dim};
    if (t.shape.size() != want.size() || t.shape[0] < 1 ||
        !std::equal(want.begin() + 1, want.end(), t.shape.begin() + 1))
      throw IoError(fmt::format("{}: {} is {}, expected [N,{}", a_.latents, has_ws ? "ws" : "z", to_string(t.shape),
                                to_string(Shape(want.begin() + 1, want.end())).substr(1)));
    const std::vector<double> numbers = t.to_doubles();
    if (!std::ranges::all_of(numbers, [](double v) { return std::isfinite(v); }))
      throw IoError(fmt::format("{}: {} has values that are not finite", a_.latents, has_ws ? "ws" : "z"));
    const Tensor values = Tensor::from(std::span<const double>(numbers), t.shape, m_.type, g_.device());
    Result r{.ws = has_ws ? values : styles(g_, values, labels(t.shape[0]), truncation_)};
    for (int64_t i = 0; i < t.shape[0]; ++i) r.names.push_back(fmt::format("latent{:04}", i));
    return r;
  }

 private:
  Tensor labels(int64_t n) const {
    std::vector<int> classes(static_cast<size_t>(n));
    for (size_t i = 0; i < classes.size() && m_.c_dim > 0; ++i)
      classes[i] = a_.klass >= 0 ? a_.klass : classes_[i % classes_.size()];
    return one_hot(classes, m_.c_dim, m_.type, g_.device());
  }

  Tensor of_seeds(const std::vector<int64_t>& seeds) const {
    std::vector<Tensor> zs;
    for (const int64_t seed : seeds) {
      Rng rng{.seed = uint64_t(seed)};
      zs.push_back(randn({1, m_.z_dim}, rng, m_.type, g_.device()));
    }
    const NoGrad no_grad;
    return styles(g_, concat(zs, 0), labels(int64_t(seeds.size())), truncation_);
  }

  const Arguments& a_;
  const StyleGan2Generator& g_;
  const StyleGan2Options& m_;
  const std::vector<int> classes_;  // to go through when none is asked for
  Truncation truncation_;
};

void write_raw(const fs::path& path, const std::vector<Tensor>& parts) {
  const NoGrad no_grad;
  SafetensorsFile file;
  const Tensor nchw = permute(concat(parts, 0), {0, 3, 1, 2});
  file.tensors["images"] = nchw.type() == DType::f64
                               ? StoredTensor::of(std::span<const double>(nchw.to_doubles()), nchw.shape())
                               : StoredTensor::of(std::span<const float>(nchw.to_floats()), nchw.shape());
  write_safetensors(path, file);
  fmt::print("wrote {}\n", path.string());
}

// Files of --outdir are written as they come; only a grid and a raw file need all images at once.
void write(const Arguments& a, const StyleGan2Generator& g, const Sampler::Result& r, const SampleOptions& options) {
  if (!a.outdir.empty()) make_directories(a.outdir);
  const bool live = isatty(STDOUT_FILENO) && r.ws.dim(0) > options.batch;
  const auto began = std::chrono::steady_clock::now();
  std::vector<Image> tiles;
  std::vector<Tensor> parts;
  size_t done = 0;
  synthesize(g, r.ws, options, [&](const Tensor& images) {
    if (!a.raw.empty()) parts.push_back(images);
    for (Image& image : to_images(images)) {
      if (!a.outdir.empty()) save_png(fs::path(a.outdir) / (r.names[done] + ".png"), image);
      if (!a.grid.empty()) tiles.push_back(std::move(image));
      ++done;
    }
    if (!live) return;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    const double speed = double(done) / seconds;
    fmt::print("\r\033[K{}/{} images  {:.1f} img/s  eta {:.0f} s", done, r.ws.dim(0), speed,
               double(r.ws.dim(0) - int64_t(done)) / speed);
    std::fflush(stdout);
  });
  if (live) fmt::print("\r\033[K");
  if (!a.raw.empty()) write_raw(a.raw, parts);
  if (!a.grid.empty()) {
    const int square = int(std::ceil(std::sqrt(double(tiles.size()))));
    const Image sheet = grid(tiles, a.columns ? a.columns : r.columns ? r.columns : square);
    save_png(a.grid, a.title.empty() ? sheet : with_title(sheet, a.title));
    fmt::print("wrote {}\n", a.grid);
  }
  if (!a.outdir.empty()) fmt::print("wrote {} images to {}\n", done, a.outdir);
}

int sample(const Arguments& a) {
  check(a);
  const NoiseMode noise = noise_mode(a.noise);
  if (a.threads > 0) set_threads(a.threads);
  const Device device = Device::from_name(a.device);
  const SafetensorsFile file = read_safetensors(a.snapshot);
  const SourceModel source = source_model(file);
  if (!source.g) throw IoError(fmt::format("{}: there is no G in it, nor G_ema", a.snapshot));
  const std::string weights = has_network(file, a.weights) ? a.weights : a.weights == "G" ? "G_ema" : "G";
  if (weights != a.weights) fmt::print("{} has no {}: the images are {}'s\n", a.snapshot, a.weights, weights);
  StyleGan2Options model = source.model();
  if (model.type == DType::f32) model.activation_type = a.precision == "bf16" ? DType::bf16 : DType::f32;
  kernels::set_numerics(model.activation_type);
  const StyleGan2Generator g(model, device);
  load_network(g.parameters(), file, weights);
  if (!all_finite(g.parameters()))
    throw IoError(fmt::format("{}: weights of {} are not finite", a.snapshot, a.weights));

  const Sampler sampler(a, g, sampled_classes(source.options));
  const auto seeds = tools::parse_numbers(a.seeds, "--seeds");
  const Sampler::Result r = !a.latents.empty()    ? sampler.from_file()
                            : !a.mix_rows.empty() ? sampler.mixed()
                            : a.interpolate > 0   ? sampler.interpolated(seeds)
                                                  : sampler.by_seed(seeds);
  Rng rng{.seed = uint64_t(seeds[0])};
  write(a, g, r, {.noise = noise, .rng = &rng, .batch = a.batch});
  tools::flush_output();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  firn::wait_politely(argv);
  return tools::guarded("gan-sample", [&] {
    CLI::App app("Makes images with a network that gan-train saved.", "gan-sample");
    Arguments arguments;
    add_options(app, arguments);
    bool proceed;
    const int code = tools::parse(app, argc, argv, proceed);
    return proceed ? sample(arguments) : code;
  });
}
