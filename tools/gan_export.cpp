// gan-export: a generator as an ONNX file, in a page that runs it, or as a folder for a model hub.
#include "base/text.h"
#include "engine/threads.h"
#include "io/onnx.h"
#include "tools/common.h"
#include "tools/export.h"
#include "tools/numbers.h"
#include "training/run/run_folder.h"

namespace fs = std::filesystem;
using namespace firn;

namespace {

constexpr const char* examples = R"(Examples:
  gan-export runs/00000-faces-64 faces.onnx                # z -> images of bytes
  gan-export runs/00000-faces-64 faces.onnx --trunc 0.7    # truncated where no psi is given
  gan-export runs/00000-faces-64 ws.onnx --mapping         # z -> ws
  gan-export runs/00000-faces-64 --demo page               # page/index.html runs it in a browser
  gan-export runs/00000-faces-64 --card faces              # README.md, weights and samples, for a model hub
)";

struct Arguments {
  std::string snapshot, out, demo, card, weights, title, noise = "const";
  bool mapping = false, synthesis = false, floats = false, force = false;
  double psi = 1;
  int cutoff = -1, threads = 0;
};

void add_options(CLI::App& app, Arguments& a) {
  app.add_option("snapshot", a.snapshot, "a snapshot of gan-train, or its run folder")->required();
  app.add_option("out", a.out, "the ONNX file to write");
  tools::Group what(app, "What to write besides");
  what.add("--demo", a.demo, "a folder: index.html, a page that runs the network in a browser");
  what.add("--card", a.card, "a folder for a model hub: README.md, weights, ONNX file, samples");
  what.flag("--force", a.force, "replace a card that is there");
  what.add("--title", a.title, "of both [the name of the run folder, or of the file]");
  tools::Group network(app, "Network");
  network.add("--weights", a.weights, "G_ema, the average, or G [G_ema where there is one]");
  network.add("--noise-mode,--noise", a.noise, "const or none")->capture_default_str();
  network.add("--trunc,--psi", a.psi, "truncation psi where none is given")
      ->capture_default_str()
      ->check(tools::number(-1000, 1000));
  network.add("--trunc-cutoff", a.cutoff, "truncate that many of the first layers only [all]")
      ->check(tools::whole(0, 1024));
  network.flag("--mapping", a.mapping, "into the ONNX file, of a style-based network the first half alone: z -> ws");
  network.flag("--synthesis", a.synthesis, "the second half alone: ws -> images");
  network.flag("--float", a.floats, "images about [-1,1] instead of bytes in the ONNX file");
  network.add("--threads", a.threads, "CPU threads [all]")->check(tools::whole(0, 1024));
  app.footer(examples);
}

void check(const Arguments& a) {
  if (a.out.empty() && a.demo.empty() && a.card.empty())
    throw ConfigError("nothing to write: give the name of an ONNX file, --demo or --card");
  if (!a.out.empty() && lower_case(fs::path(a.out).extension().string()) != ".onnx")
    throw ConfigError(fmt::format("{}: an ONNX file's name ends in .onnx", printable(a.out)));
  if (std::error_code none; !a.card.empty() && !a.force && fs::exists(fs::path(a.card) / "README.md", none))
    throw ConfigError(fmt::format("{}/README.md is there already; --force replaces it", printable(a.card)));
  if (a.noise != "const" && a.noise != "none")
    throw ConfigError(fmt::format("--noise-mode {}: an ONNX file has const or none", a.noise));
  if (!a.weights.empty() && a.weights != "G" && a.weights != "G_ema")
    throw ConfigError(fmt::format("--weights {}: there are G and G_ema", a.weights));
  if (a.mapping && (a.synthesis || a.floats))
    throw ConfigError(fmt::format("--mapping and {} exclude each other", a.synthesis ? "--synthesis" : "--float"));
  if (a.synthesis && (a.psi != 1 || a.cutoff >= 0))
    throw ConfigError("--trunc says nothing beside --synthesis: its ws are truncated already");
  if (a.out.empty() && (a.mapping || a.synthesis || a.floats))
    throw ConfigError("--mapping, --synthesis and --float need the name of an ONNX file");
  if (a.demo.empty() && a.card.empty() && !a.title.empty()) throw ConfigError("--title needs --demo or --card");
}

std::string title_of(const Arguments& a, const fs::path& snapshot) {
  if (!a.title.empty()) return a.title;
  const fs::path run = fs::absolute(snapshot).parent_path();
  std::error_code none;
  return fs::exists(run / "training_options.json", none) ? run.filename().string() : snapshot.stem().string();
}

int export_as_asked(const Arguments& a) {
  check(a);
  if (a.threads > 0) set_threads(a.threads);
  const fs::path snapshot = snapshot_file(a.snapshot);
  tools::require_other_file(a.out, snapshot);
  if (!a.card.empty()) tools::require_other_file(fs::path(a.card) / "model.safetensors", snapshot);
  const tools::LoadedGenerator loaded = tools::load_generator(snapshot, a.weights, DType::f32, Device::cpu());
  if (!a.weights.empty() && loaded.weights != a.weights)
    fmt::print("{} has no {}: the images are {}'s\n", a.snapshot, a.weights, loaded.weights);
  onnx::Options options{.part = a.mapping     ? onnx::Part::mapping
                                : a.synthesis ? onnx::Part::synthesis
                                              : onnx::Part::whole,
                        .noise = a.noise == "none" ? NoiseMode::none : NoiseMode::constant,
                        .bytes = !a.floats,
                        .psi = a.psi,
                        .cutoff = a.cutoff};
  const auto wrote = [](const fs::path& path) {
    fmt::print("wrote {}, {:.1f} MB\n", path.string(), double(fs::file_size(path)) / 1e6);
  };
  if (!a.out.empty()) {
    write_onnx(a.out, onnx::to_graph(*loaded.g, options));
    wrote(a.out);
  }
  options.part = onnx::Part::whole;
  options.bytes = true;
  const tools::Export folder{snapshot, title_of(a, snapshot), loaded, options};
  if (!a.demo.empty()) {
    write_demo(folder, a.demo);
    wrote(fs::path(a.demo) / "index.html");
  }
  if (!a.card.empty()) {
    write_card(folder, a.card);
    wrote(fs::path(a.card) / "README.md");
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return tools::guarded("gan-export", [&] {
    CLI::App app("Writes a generator that gan-train saved for other programs.", "gan-export");
    Arguments a;
    add_options(app, a);
    bool proceed;
    const int code = tools::parse(app, argc, argv, proceed);
    return proceed ? export_as_asked(a) : code;
  });
}
