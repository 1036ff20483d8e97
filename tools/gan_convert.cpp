// gan-convert: networks from other programs' files into ours, or into PyTorch's.
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "io/json.h"
#include "io/pytorch_file.h"
#include "models/files.h"
#include "models/published.h"
#include "tools/common.h"
#include "training/run/run_folder.h"

namespace fs = std::filesystem;
using namespace firn;

namespace {

constexpr const char* examples = R"(Examples:
  gan-convert ffhq.pkl ffhq.safetensors
  gan-convert G.npz D.npz sngan.safetensors          one file a network, as Chainer has them
  gan-convert runs/00000-faces snapshot.pt --only G_ema
  gan-convert ffhq.pkl --inspect
)";

struct Arguments {
  std::vector<std::string> files;
  std::string only;
  bool inspect = false, force = false;
};

PublishedNetworks read_all(const std::vector<std::string>& files) {
  PublishedNetworks all = read_published(snapshot_file(files.front()));
  for (size_t i = 1; i < files.size(); ++i) {
    PublishedNetworks next = read_published(snapshot_file(files[i]));
    all.file = merged(std::move(all.file), std::move(next.file));
    all.passed_over.insert(all.passed_over.end(), next.passed_over.begin(), next.passed_over.end());
  }
  return all;
}

// Only the networks, under the names that every program knows, and what describes them.
SafetensorsFile networks_of(SafetensorsFile file, const SourceModel& source, const std::string& only) {
  SafetensorsFile out;
  for (const std::string name : {"G", "D", "G_ema"}) {
    if (!has_network(file, name) || (!only.empty() && only != name)) continue;
    for (auto it = file.tensors.lower_bound(name + "."); it != file.tensors.end() && it->first.starts_with(name + ".");)
      out.tensors.insert(file.tensors.extract(it++));
  }
  if (out.tensors.empty()) throw IoError(fmt::format("{}: there is no {} in it", file.name, only));
  if (source.described) {
    out.metadata = {{"format", snapshot_format}, {"model", to_json(source.model).dump()}};
    if (!source.class_counts.empty())
      out.metadata["options"] =
          nlohmann::json{{"model", to_json(source.model)}, {"class_counts", source.class_counts}}.dump();
  }
  if (const auto said = file.metadata.find("published"); said != file.metadata.end()) out.metadata.insert(*said);
  return out;
}

void print_tensors(const SafetensorsFile& file) {
  for (const std::string network : {"G", "D", "G_ema"}) {
    if (!has_network(file, network)) continue;
    int64_t values = 0, tensors = 0;
    for (const auto& [name, t] : file.tensors)
      if (name.starts_with(network + ".")) {
        values += t.count();
        ++tensors;
      }
    fmt::print("{}: {} tensors, {} values\n", network, tensors, values);
  }
  for (const auto& [name, t] : file.tensors) fmt::print("  {} {} {}\n", printable(name), t.dtype, to_string(t.shape));
}

std::map<std::string, std::string> said_by(const SafetensorsFile& file) {
  std::map<std::string, std::string> said;
  const auto published = file.metadata.find("published");
  if (published == file.metadata.end()) return said;
  const nlohmann::json json = parse_json(published->second, file.name, {.depth = 3, .values = 1 << 10});
  if (!json.is_object() || !json.contains("values")) return said;
  for (const auto& [name, value] : json["values"].items())
    if (value.is_string()) said[name] = value.get<std::string>();
  return said;
}

void inspect(const PublishedNetworks& read, const SourceModel& source) {
  const ModelSpec& m = source.model;
  const ImageShape image = m.images();
  fmt::print("format: {}\n", read.format.empty() ? "ours" : read.format);
  fmt::print("model: {}, {}\n", model(m.kind()).title, m.describe());
  fmt::print("images: {}x{}, {} channels\n", image.width, image.height, image.channels);
  fmt::print("classes: {}\n", m.classes() ? std::to_string(m.classes()) : "none");
  fmt::print("latents: {}\n", m.basics().z_dim);
  if (!source.described) fmt::print("options: by the shapes of its tensors; it says none\n");
  for (const auto& [name, value] : said_by(read.file)) fmt::print("said: {} {}\n", printable(name), printable(value));
  for (const std::string& name : read.passed_over) fmt::print("not read: {}\n", name);
  print_tensors(read.file);
}

int convert(Arguments a) {
  if (a.files.size() < (a.inspect ? 1 : 2))
    throw ConfigError(a.inspect ? "--inspect takes the files to look at"
                                : "gan-convert IN... OUT takes files and, last, the one to write");
  std::string out;
  if (!a.inspect) {
    out = a.files.back();
    a.files.pop_back();
    const std::string end = lower_case(fs::path(out).extension().string());
    if (end != ".safetensors" && end != ".pt" && end != ".pth")
      throw ConfigError(fmt::format("{}: a name ends in .safetensors, .pt or .pth", printable(out)));
    for (const std::string& in : a.files) tools::require_other_file(out, snapshot_file(in));
    if (std::error_code none; fs::exists(out, none) && !a.force)
      throw ConfigError(fmt::format("{} is there already; --force replaces it", printable(out)));
  }
  PublishedNetworks read = read_all(a.files);
  const SourceModel source = source_model(read.file);
  if (a.inspect) return inspect(read, source), 0;

  const SafetensorsFile networks = networks_of(std::move(read.file), source, a.only);
  lower_case(fs::path(out).extension().string()) == ".safetensors" ? write_safetensors(out, networks)
                                                                   : write_pytorch(out, networks);
  for (const std::string& name : read.passed_over) fmt::print("not read: {}\n", name);
  fmt::print("wrote {}: {}, {} tensors\n", out, model(source.model.kind()).title, networks.tensors.size());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return tools::guarded("gan-convert", [&] {
    CLI::App app(
        "Reads networks from files of NVIDIA's, rosinality's and Chainer's code, and writes them under NVIDIA's "
        "names.",
        "gan-convert");
    Arguments a;
    app.add_option("files", a.files, "files to read and, last, the one to write (.safetensors, .pt)");
    tools::Group group(app, "Options");
    group.flag("--inspect", a.inspect, "print what is in the files and write nothing");
    group.add("--only", a.only, "G, D or G_ema")->check(CLI::IsMember({"G", "D", "G_ema"}));
    group.flag("--force", a.force, "replace a file that is there");
    app.footer(examples);
    bool proceed;
    const int code = tools::parse(app, argc, argv, proceed);
    return proceed ? convert(std::move(a)) : code;
  });
}
