// gan-sample: images from a snapshot: by seeds or given latents, as a grid or single files, mixed or interpolated.
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <climits>
#include <cmath>
#include <optional>

#include "base/text.h"
#include "engine/threads.h"
#include "io/files.h"
#include "io/film.h"
#include "io/npz.h"
#include "kernels/choice/provider_numerics.h"
#include "models/registry.h"
#include "models/sampling.h"
#include "tools/common.h"
#include "tools/network.h"
#include "tools/numbers.h"
#include "tools/own_kernels.h"
#include "tools/progress.h"
#include "training/latents/sefa.h"
#include "training/run/run_folder.h"
#include "training/state/state.h"
#include "training/step/feed.h"

namespace fs = std::filesystem;
using namespace firn;

namespace {

constexpr const char* examples = R"(Examples:
  gan-sample --snapshot S --seeds 0-15 --trunc 0.7 --grid samples.png
  gan-sample --snapshot S --seeds 0-999 --outdir samples              # one file a seed: samples/seed0000.png
  gan-sample --snapshot S --mix-rows 1,2,3 --mix-cols 10-15 --mix-layers 0-3 --grid mixed.png
  gan-sample --snapshot S --seeds 1,2,3 --interpolate 60 --video film.mp4  # 60 frames between neighbours, then back
  gan-sample --snapshot S --seeds 4 --sefa 5 --sefa-range -4..4 --grid directions.png
  gan-sample --snapshot S --latents projected_w.npz --raw images.safetensors
)";

struct Arguments {
  std::string snapshot, grid, outdir, raw, latents, title, mix_rows, mix_cols, mix_layers;
  std::string video, save_ws, sefa_range = "-3..3", layers;
  std::string seeds, weights, noise = "const", device = "auto", precision = "fp32";
  double trunc = 1;
  int trunc_cutoff = -1, klass = -1, interpolate = 0, columns = 0, batch = 16, threads = 0;
  int sefa = 0, sefa_index = -1, sefa_steps = 7, fps = 30;
};

void add_options(CLI::App& app, Arguments& a) {
  tools::Group network(app, "Network");
  network.add("--snapshot,--network", a.snapshot, "a snapshot of gan-train, or its run folder")->required();
  network.add("--weights", a.weights, "G_ema, the average, or G [G_ema where there is one]");
  tools::Group what(app, "What to show");
  what.add("--seeds", a.seeds, "one image a seed, like 0-15,20 [0-15]");
  what.add("--class", a.klass, "class, for conditional networks; without it a seed has class SEED mod classes")
      ->check(tools::whole(0, 65535));
  what.add("--trunc", a.trunc, "truncation psi: below 1 more typical, less varied")
      ->capture_default_str()
      ->check(tools::number(-1000, 1000));
  what.add("--trunc-cutoff", a.trunc_cutoff, "truncate that many of the first layers only [all]")
      ->check(tools::whole(0, 1024));
  what.add("--noise-mode", a.noise, "const, random or none")->capture_default_str();
  what.add("--latents", a.latents,
           "safetensors or .npz with `z` [N,z_dim], or `ws` or `w` [N,num_ws,w_dim], instead of seeds");
  what.add("--mix-rows", a.mix_rows, "style mixing: seeds of the rows, which give what --mix-layers leaves");
  what.add("--mix-cols", a.mix_cols, "style mixing: seeds of the columns");
  what.add("--mix-layers", a.mix_layers, "style mixing: layers taken from the column [the first half, at most 0-6]");
  what.add("--interpolate", a.interpolate, "frames from each seed to the next, and from the last to the first")
      ->check(tools::whole(0, 1000000000));
  what.add("--sefa", a.sefa, "directions found in the weights (SeFa): a row each, strengths from left to right")
      ->check(tools::whole(1, 65536));
  what.add("--sefa-index", a.sefa_index, "that direction alone, from 0; a row for each seed")
      ->check(tools::whole(0, 65535));
  what.add("--sefa-range", a.sefa_range, "strengths, FROM..TO")->capture_default_str();
  what.add("--sefa-steps", a.sefa_steps, "how many of them")->capture_default_str()->check(tools::whole(2, 1000));
  what.add("--layers", a.layers, "layers whose weights say the directions, and which are moved along them [all]");
  tools::Group out(app, "Where to write");
  out.add("--grid", a.grid, "one PNG with all images");
  out.add("--columns", a.columns, "of the grid [as square as possible]")->check(tools::whole(1, INT_MAX));
  out.add("--title", a.title, "above the grid");
  out.add("--outdir", a.outdir, "a folder of single PNGs");
  out.add("--raw", a.raw, "safetensors with `images` [N,C,H,W], not clamped");
  out.add("--video", a.video, "a film, by ffmpeg where it is installed: NAME.mp4; else its frames in NAME/");
  out.add("--fps", a.fps, "frames a second of the film")->capture_default_str()->check(tools::whole(1, 1000));
  out.add("--save-ws", a.save_ws, "the styles: NAME.npz with `w` [N,num_ws,w_dim], or safetensors with `ws`");
  tools::Group machine(app, "Machine");
  machine.add("--device", a.device, "auto, cpu, cuda or cuda:INDEX")->capture_default_str();
  machine.add("--precision", a.precision, "fp32 or bf16")->capture_default_str();
  machine.add("--batch", a.batch, "images at once on a GPU; a CPU makes them one by one")
      ->capture_default_str()
      ->check(tools::whole(1, 65536));
  machine.add("--threads", a.threads, "CPU threads [all]")->check(tools::whole(0, 1024));
  tools::add_no_own_kernels(app)->group("Machine");
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
  if (a.grid.empty() && a.outdir.empty() && a.raw.empty() && a.video.empty() && a.save_ws.empty())
    throw ConfigError("nothing to write: give --grid, --outdir, --video, --raw or --save-ws");
  if (a.mix_rows.empty() != a.mix_cols.empty()) throw ConfigError("style mixing needs --mix-rows and --mix-cols");
  if (int(mixing) + int(a.interpolate > 0) + int(a.sefa > 0) + int(!a.latents.empty()) > 1)
    throw ConfigError("--latents, --mix-rows, --interpolate and --sefa exclude each other");
  if (a.sefa == 0)
    for (const auto& [name, given] : {std::pair("--layers", !a.layers.empty()),
                                      {"--sefa-index", a.sefa_index >= 0},
                                      {"--sefa-range", a.sefa_range != Arguments{}.sefa_range}})
      if (given) throw ConfigError(fmt::format("{} says nothing without --sefa", name));
  if (a.sefa_index >= 0 && a.sefa_index >= a.sefa)
    throw ConfigError(
        fmt::format("--sefa-index {}: --sefa {} has directions 0 to {}", a.sefa_index, a.sefa, a.sefa - 1));
  if (!a.seeds.empty() && (mixing || !a.latents.empty()))
    throw ConfigError(
        fmt::format("--seeds says nothing beside {}", mixing ? "--mix-rows and --mix-cols" : "--latents"));
  if (!a.weights.empty() && a.weights != "G" && a.weights != "G_ema")
    throw ConfigError(fmt::format("--weights {}: there are G and G_ema", a.weights));
  if (a.precision != "fp32" && a.precision != "bf16")
    throw ConfigError(fmt::format("--precision {}: there are fp32 and bf16", a.precision));
  if (!a.grid.empty()) tools::require_png_name("--grid", a.grid);
  if (const std::string end = lower_case(fs::path(a.save_ws).extension().string());
      !a.save_ws.empty() && end != ".npz" && end != ".safetensors")
    throw ConfigError(fmt::format("--save-ws {}: a name ends in .npz or .safetensors", printable(a.save_ws)));
  if (!a.grid.empty() && a.grid == a.raw) throw ConfigError("--grid and --raw name the same file");
}

class Sampler {
 public:
  Sampler(const Arguments& a, const Generator& g, const std::vector<int>& classes)
      : a_(a),
        g_(g),
        styles_(dynamic_cast<const StyleGenerator*>(&g)),
        classes_(classes),
        truncation_{a.trunc, a.trunc_cutoff} {
    if (a.klass >= 0 && a.klass >= g.classes())
      throw ConfigError(g.classes()
                            ? fmt::format("--class {}: the network has classes 0 to {}", a.klass, g.classes() - 1)
                            : std::string("--class: the network is not conditional"));
  }

  // What image i is made of, computed when its turn comes, and how many make a row of the picture (0: any). Nothing
  // depends on i but through what the user named: a seed has the same picture in every list.
  struct Plan {
    int64_t count = 0;
    std::function<Code(int64_t)> code;
    std::function<std::string(int64_t)> name;
    std::function<uint64_t(int64_t)> noise;  // its seed
    int columns = 0;
    std::vector<Tensor> maps = {};  // of noise that the latents came with
  };

  Plan by_seed(std::vector<int64_t> seeds) const {
    const auto seed = [seeds](int64_t i) { return seeds[size_t(i)]; };
    return {.count = int64_t(seeds.size()),
            .code = [=, this](int64_t i) { return of_seed(seed(i)); },
            .name = [=](int64_t i) { return fmt::format("seed{:04}", seed(i)); },
            .noise = [=](int64_t i) { return uint64_t(seed(i)); }};
  }

  // The corner stays out: the first row and column show what is mixed.
  Plan mixed() const {
    const auto rows = parse_numbers(a_.mix_rows, "--mix-rows"), cols = parse_numbers(a_.mix_cols, "--mix-cols");
    const StyleGenerator& g = styled("--mix-rows");
    const int half = std::min(g.num_ws() / 2, 7);
    const auto layers =
        parse_numbers(a_.mix_layers.empty() ? fmt::format("0-{}", half - 1) : a_.mix_layers, "--mix-layers");
    for (const int64_t layer : layers)
      if (layer >= g.num_ws())
        throw ConfigError(fmt::format("--mix-layers {}: the network has layers 0 to {}", layer, g.num_ws() - 1));
    const int64_t width = int64_t(cols.size()) + 1;
    const auto row = [=](int64_t i) { return i < width ? int64_t{-1} : rows[size_t(i / width - 1)]; };
    const auto col = [=](int64_t i) { return i % width == 0 ? int64_t{-1} : cols[size_t(i % width - 1)]; };
    return {.count = width * (int64_t(rows.size()) + 1),
            .code = [=, this, &g](int64_t i) -> Code {
              const NoGrad no_grad;
              if (i == 0) return {g.broadcast(Tensor::zeros({1, g.w_dim()}, g.type(), g.device()), {.psi = 0}), {}};
              if (row(i) < 0) return of_seed(col(i));
              if (col(i) < 0) return of_seed(row(i));
              const Tensor of_row = of_seed(row(i)).values, of_col = of_seed(col(i)).values;
              std::vector<Tensor> by_layer;
              for (int64_t k = 0; k < g.num_ws(); ++k)
                by_layer.push_back(slice(std::ranges::count(layers, k) ? of_col : of_row, 1, k, k + 1));
              return {concat(by_layer, 1), {}};
            },
            .name =
                [=](int64_t i) {
                  if (i == 0) return std::string("mean");
                  if (row(i) < 0) return fmt::format("col{:04}", col(i));
                  if (col(i) < 0) return fmt::format("row{:04}", row(i));
                  return fmt::format("{:04}-{:04}", row(i), col(i));
                },
            .noise = [=](int64_t i) { return uint64_t(std::max<int64_t>(row(i) < 0 ? col(i) : row(i), 0)); },
            .columns = int(width)};
  }

  Plan interpolated(std::vector<int64_t> seeds) const {
    constexpr int64_t most = 100'000;
    const int64_t keys = int64_t(seeds.size()), steps = a_.interpolate;
    if (keys > most / steps)
      throw ConfigError(
          fmt::format("--interpolate {} between {} seeds is more than the {} frames that are made at once; give fewer",
                      steps, keys, most));
    if (a_.klass < 0 && of_seed(seeds[0]).labels.defined())
      throw ConfigError("--interpolate goes within a class of this network; give --class");
    return {.count = keys * steps,
            .code = [=, this](int64_t i) -> Code {
              const NoGrad no_grad;
              const double t = double(i % steps) / double(steps);
              const Code from = of_seed(seeds[size_t(i / steps)]);
              return {from.values * (1 - t) + of_seed(seeds[size_t((i / steps + 1) % keys)]).values * t, from.labels};
            },
            .name = [](int64_t i) { return fmt::format("frame{:05}", i); },
            .noise = [](int64_t i) { return uint64_t(i); }};
  }

  // Rows: each direction with each seed.
  Plan edited(std::vector<int64_t> seeds) const {
    const StyleGenerator& g = styled("--sefa");
    const auto layers = parse_numbers(a_.layers.empty() ? fmt::format("0-{}", g.num_ws() - 1) : a_.layers, "--layers");
    const Eigen found = sefa(g, layers);
    if (a_.sefa > found.vectors.rows)
      throw ConfigError(fmt::format("--sefa {}: these layers have {} directions", a_.sefa, found.vectors.rows));
    const size_t dots = a_.sefa_range.find("..");
    const auto strength = [&](const std::string& text) {
      double value = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
      if (dots == text.npos || error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value))
        throw ConfigError(fmt::format("--sefa-range {}: expected FROM..TO, like -3..3", printable(a_.sefa_range)));
      return value;
    };
    const double from = strength(a_.sefa_range.substr(0, dots)),
                 to = strength(dots == a_.sefa_range.npos ? "" : a_.sefa_range.substr(dots + 2));
    const int64_t columns = a_.sefa_steps, first = std::max(a_.sefa_index, 0),
                  directions = a_.sefa_index < 0 ? a_.sefa : 1;
    // What each direction adds to ws, [num_ws,w_dim]: nothing to layers that were not named.
    std::vector<Tensor> moves;
    for (int64_t d = first; d < first + directions; ++d) {
      std::vector<double> move(size_t(g.num_ws()) * size_t(g.w_dim()));
      for (const int64_t layer : layers) std::copy_n(found.vectors.row(d), g.w_dim(), move.begin() + layer * g.w_dim());
      moves.push_back(Tensor::from(std::span<const double>(move), {1, g.num_ws(), g.w_dim()}, g.type(), g.device()));
    }
    const auto seed = [=](int64_t i) { return seeds[size_t(i / columns / directions)]; };
    const auto direction = [=](int64_t i) { return i / columns % directions; };
    const auto by = [=](int64_t i) { return from + (to - from) * double(i % columns) / double(columns - 1); };
    return {.count = std::ssize(seeds) * directions * columns,
            .code = [=, this](int64_t i) -> Code {
              const NoGrad no_grad;
              return {of_seed(seed(i)).values + moves[size_t(direction(i))] * by(i), {}};
            },
            .name =
                [=](int64_t i) {
                  return fmt::format("seed{:04}-direction{:02}-{:03}", seed(i), first + direction(i), i % columns);
                },
            .noise = [=](int64_t i) { return uint64_t(seed(i)); },
            .columns = int(columns)};
  }

  Plan from_file() const {
    const bool npz = lower_case(fs::path(a_.latents).extension().string()) == ".npz";
    const SafetensorsFile file = npz ? read_npz(a_.latents) : read_safetensors(a_.latents);
    std::vector<std::string> names;
    for (const char* name : {"z", "w", "ws"})
      if (file.contains(name)) names.push_back(name);
    if (names.size() != 1)
      throw IoError(fmt::format("{}: expected one of z, w and ws, there {}", a_.latents,
                                names.empty() ? "is none" : fmt::format("are {}", fmt::join(names, " and "))));
    const bool has_ws = names[0] != "z";
    const Tensor values =
        stored(file, names[0], has_ws ? Shape{0, styled("ws").num_ws(), styled("ws").w_dim()} : Shape{0, g_.z_dim()},
               g_.type());
    std::vector<Tensor> maps;
    if (has_ws && file.contains("noise.0"))
      for (const Tensor& map : styles_->noise_maps())
        maps.push_back(
            stored(file, fmt::format("noise.{}", maps.size()), {values.dim(0), map.dim(1), map.dim(2)}, map.type()));
    return {.count = values.dim(0),
            .code = [=, this](int64_t i) -> Code {
              const NoGrad no_grad;
              const Tensor own = slice(values, 0, i, i + 1);
              return has_ws ? Code{own, {}} : of_z(own, i);
            },
            .name = [](int64_t i) { return fmt::format("latent{:04}", i); },
            .noise = [](int64_t i) { return uint64_t(i); },
            .maps = maps};
  }

 private:
  // Of this shape, whose first size is any where it is 0, and of finite values.
  Tensor stored(const SafetensorsFile& file, const std::string& name, Shape want, DType type) const {
    const StoredTensor& t = file.at(name);
    if (t.shape.size() != want.size() || t.shape[0] < 1 || (want[0] && t.shape[0] != want[0]) ||
        !std::equal(want.begin() + 1, want.end(), t.shape.begin() + 1))
      throw IoError(fmt::format("{}: {} is {}, expected [{},{}", a_.latents, name, to_string(t.shape),
                                want[0] ? std::to_string(want[0]) : "N",
                                to_string(Shape(want.begin() + 1, want.end())).substr(1)));
    const std::vector<double> numbers = t.to_doubles();
    if (!std::ranges::all_of(numbers, [](double v) { return std::isfinite(v); }))
      throw IoError(fmt::format("{}: {} has values that are not finite", a_.latents, name));
    return Tensor::from(std::span<const double>(numbers), t.shape, type, g_.device());
  }

  const StyleGenerator& styled(const char* what) const {
    if (!styles_) throw ConfigError(fmt::format("{}: this network is not style-based", what));
    return *styles_;
  }

  // One at a time: products of other sizes may round otherwise.
  Code of_z(const Tensor& z, int64_t number) const {
    const NoGrad no_grad;
    const int of_number = g_.classes() > 0 ? classes_[size_t(number) % classes_.size()] : 0,
              klass = a_.klass >= 0 ? a_.klass : of_number;
    return g_.code(z, class_labels(std::span(&klass, 1), g_.classes(), g_.device()), truncation_);
  }

  Code of_seed(int64_t seed) const {
    Rng rng{.seed = uint64_t(seed)};
    return of_z(randn({1, g_.z_dim()}, rng, g_.type(), g_.device()), seed);
  }

  const Arguments& a_;
  const Generator& g_;
  const StyleGenerator* styles_;    // null: not style-based
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

// As NVIDIA's generate.py reads them, or as safetensors.
void write_ws(const Generator& g, const fs::path& path, const Sampler::Plan& plan) {
  const NoGrad no_grad;
  if (!dynamic_cast<const StyleGenerator*>(&g)) throw ConfigError("--save-ws: this network is not style-based");
  std::vector<Tensor> all;
  for (int64_t i = 0; i < plan.count; ++i) all.push_back(plan.code(i).values);
  const Tensor ws = concat(all, 0);
  const bool npz = lower_case(path.extension().string()) == ".npz";
  SafetensorsFile file;
  file.tensors[npz ? "w" : "ws"] = StoredTensor::of(std::span<const float>(ws.to_floats()), ws.shape());
  npz ? write_npz(path, file) : write_safetensors(path, file);
  fmt::print("wrote {}\n", path.string());
}

int grid_columns(const Arguments& a, const Sampler::Plan& plan, const ImageShape& image) {
  const int columns = a.columns      ? a.columns
                      : plan.columns ? plan.columns
                                     : int(std::ceil(std::sqrt(double(plan.count))));
  constexpr double most_pixels = 1 << 30;
  const double cells = std::ceil(double(plan.count) / columns) * columns;
  if (!a.grid.empty() && cells * image.height * image.width > most_pixels)
    throw ConfigError(
        fmt::format("--grid: {} images of {}x{} in {} columns are too large a sheet; --outdir writes them "
                    "one by one",
                    plan.count, image.width, image.height, columns));
  return columns;
}

// Files of --outdir are written as they come; only a grid and a raw file need all images at once.
void write(const Arguments& a, const Generator& g, const ImageShape& image, const Sampler::Plan& plan,
           NoiseMode noise) {
  if (!a.save_ws.empty()) write_ws(g, a.save_ws, plan);
  if (a.grid.empty() && a.outdir.empty() && a.raw.empty() && a.video.empty()) return;
  const int columns = grid_columns(a, plan, image);
  std::optional<Film> film;
  if (!a.video.empty()) film.emplace(a.video, a.fps);
  if (!a.outdir.empty()) make_directories(a.outdir);
  const auto rng = [&](int64_t i) { return Rng{.seed = seed_for(plan.noise(i), SeedUse::grid)}; };
  tools::Progress progress(plan.count);
  std::vector<Image> tiles;
  std::vector<Tensor> parts;
  int64_t done = 0;
  // One by one is no slower on a CPU, whose products round otherwise in other batches.
  const int batch = g.device().is_cuda() ? a.batch : 1;
  const Noise given = noise == NoiseMode::constant && !plan.maps.empty() ? Noise(plan.maps) : Noise(noise);
  firn::sample(g, plan.count, plan.code, {.noise = given, .rng = rng, .batch = batch}, [&](const Tensor& images) {
    if (const NoGrad no_grad; !std::isfinite(sum(images * 0.0).item()))
      throw Error("this network makes values that are not finite; it cannot be shown");
    if (!a.raw.empty()) parts.push_back(images);
    for (Image& one : to_images(images)) {
      if (!a.outdir.empty()) save_png(fs::path(a.outdir) / (plan.name(done) + ".png"), one);
      if (film) film->add(one);
      if (!a.grid.empty()) tiles.push_back(std::move(one));
      ++done;
      progress.step();
    }
  });
  progress.clear();
  if (!a.raw.empty()) write_raw(a.raw, parts);
  if (!a.grid.empty()) {
    const Image sheet = grid(tiles, columns);
    save_png(a.grid, a.title.empty() ? sheet : with_title(sheet, a.title));
    fmt::print("wrote {}\n", a.grid);
  }
  if (!a.outdir.empty()) fmt::print("wrote {} images to {}\n", done, a.outdir);
  if (film) {
    const fs::path written = film->finish();
    fmt::print("wrote {}{}\n", written.string(), written == a.video ? "" : ": the frames, as ffmpeg is not installed");
  }
}

int sample(const Arguments& a) {
  check(a);
  const NoiseMode noise = noise_mode(a.noise);
  if (a.threads > 0) set_threads(a.threads);
  const Device device = Device::from_name(a.device);
  const fs::path snapshot = snapshot_file(a.snapshot);
  for (const fs::path& source : {snapshot, fs::path(a.latents)})
    for (const std::string& written : {a.raw, a.save_ws}) tools::require_other_file(written, source);
  const tools::LoadedGenerator loaded =
      tools::load_generator(snapshot, a.weights, a.precision == "bf16" ? DType::bf16 : DType::f32, device);
  if (!a.weights.empty() && loaded.weights != a.weights)
    fmt::print("{} has no {}: the images are {}'s\n", a.snapshot, a.weights, loaded.weights);
  const Generator& g = *loaded.g;

  const Sampler sampler(a, g, sampled_classes(g.classes(), loaded.source.class_counts));
  const auto seeds = parse_numbers(!a.seeds.empty() ? a.seeds : a.sefa > 0 ? "0" : "0-15", "--seeds");
  write(a, g, loaded.source.model.images(),
        !a.latents.empty()    ? sampler.from_file()
        : !a.mix_rows.empty() ? sampler.mixed()
        : a.interpolate > 0   ? sampler.interpolated(seeds)
        : a.sefa > 0          ? sampler.edited(seeds)
                              : sampler.by_seed(seeds),
        noise);
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
