#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "io/files.h"
#include "io/markup.h"
#include "models/files.h"
#include "models/published.h"
#include "models/sampling.h"
#include "tools/export.h"
#include "training/run/metric_log.h"
#include "training/state/snapshot.h"
#include "training/step/feed.h"

namespace fs = std::filesystem;

namespace firn::tools {
namespace {

// Between backquotes of Markdown.
std::string code(std::string text) {
  text = printable(text);
  std::ranges::replace(text, '`', '\'');
  return fmt::format("`{}`", text);
}

// What sampling needs of a snapshot: no D, no optimiser.
SafetensorsFile weights_of(SafetensorsFile file, const std::string& weights) {
  const auto needed = [&](const std::string& name) {
    return name.starts_with(weights + ".") || name.starts_with(weights == "G_ema" ? "miner_ema." : "miner.");
  };
  std::erase_if(file.tensors, [&](const auto& named) { return !needed(named.first); });
  return file;
}

Image samples(const LoadedGenerator& loaded) {
  constexpr int side = 4;
  const Generator& g = *loaded.g;
  const std::vector<int> classes = sampled_classes(g.classes(), loaded.source.class_counts);
  std::vector<Image> tiles;
  const auto of_seed = [&](int64_t i) {
    Rng rng{.seed = uint64_t(i)};
    const int klass = classes.empty() ? 0 : classes[size_t(i) % classes.size()];
    return g.code(randn({1, g.z_dim()}, rng, g.type(), g.device()),
                  class_labels(std::span(&klass, 1), g.classes(), g.device()));
  };
  sample(g, side * side, of_seed, {.batch = 1}, [&](const Tensor& images) {
    for (Image& image : to_images(images)) tiles.push_back(std::move(image));
  });
  return grid(tiles, side);
}

// What the run's evaluations of this snapshot say, as a table; empty: nothing.
std::string metrics(const fs::path& run, int64_t images) {
  const MetricLog log(run);
  std::string rows;
  for (const auto& [name, curve] : log.curves())
    for (const auto& [at, value] : curve.points)
      if (at == images)
        rows += fmt::format("| {} | {:.5g} | {} |\n", code(name), value,
                            curve.better == Better::neither ? "" : name_of(curve.better));
  return rows.empty() ? "" : "## Metrics\n\n| metric | value | better |\n|---|---|---|\n" + rows + "\n";
}

constexpr const char* text = R"(---
library_name: firn
pipeline_tag: unconditional-image-generation
tags:
- gan
- {kind}
- onnx
# license: to be chosen by you
---

# {title}

![Samples of seeds 0 to 15](samples.png)

A {model} generator of images of {width}x{height} pixels and {channels}{classes}, {made}{data}{seen}.

| file | what |
|---|---|
| `generator.onnx` | {inputs} to `images` [N,{channels_number},{height},{width}] of bytes |
| `model.safetensors` | the weights ({weights}), for `gan-sample`, and for `gan-train --init` |
| `samples.png` | seeds 0 to 15, not truncated |

## Use

```python
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession("generator.onnx")
z = np.random.default_rng(0).standard_normal((4, {z_dim})).astype(np.float32)
images = session.run(None, {feeds})[0]
```

```
gan-sample --snapshot model.safetensors --seeds 0-15 --grid samples.png
```

{metrics})";

std::string readme(const Export& e, const SafetensorsFile& file) {
  const Generator& g = *e.loaded.g;
  const ModelSpec& spec = e.loaded.source.model;
  const ImageShape shape = spec.images();
  std::string inputs = fmt::format("`z` [N,{}] of normal numbers", g.z_dim()), feeds = "\"z\": z", data;
  if (g.classes()) {
    inputs += ", `labels` [N] of int64";
    feeds += ", \"labels\": np.arange(4) % " + fmt::to_string(g.classes());
  }
  if (onnx::takes_psi(g, e.options))
    inputs += fmt::format(", `psi` [] for truncation ({} where it is not given)", e.options.psi);
  int64_t images = 0;
  if (const auto options = file.metadata.find("options");
      options != file.metadata.end() && file.contains("state.counters")) {
    const auto description = nlohmann::json::parse(options->second, nullptr, false);
    const auto path = nlohmann::json::json_pointer("/data/path");
    if (!description.is_discarded() && description.contains(path) && description[path].is_string())
      data = " on " + code(description[path].get<std::string>());
    const StoredTensor& counters = file.at("state.counters");
    if (counters.dtype == "I64" && counters.bytes.size() >= sizeof images)
      std::memcpy(&images, counters.bytes.data(), sizeof images);
  }
  return fmt::format(
      text, fmt::arg("kind", spec.kind()), fmt::arg("title", markup(e.title)),
      fmt::arg("model", model(spec.kind()).title), fmt::arg("width", shape.width), fmt::arg("height", shape.height),
      fmt::arg("channels", shape.channels == 1   ? "one channel"
                           : shape.channels == 3 ? "three channels"
                                                 : "four channels"),
      fmt::arg("channels_number", shape.channels),
      fmt::arg("classes", g.classes() ? fmt::format(", of {} classes", g.classes()) : ""), fmt::arg("data", data),
      fmt::arg("made",
               file.metadata.contains("published") ? "converted from another program's file" : "trained with Firn"),
      fmt::arg("seen", images ? fmt::format(", {} thousand images long", double(images) / 1000) : ""),
      fmt::arg("inputs", inputs), fmt::arg("weights", e.loaded.weights), fmt::arg("z_dim", g.z_dim()),
      fmt::arg("feeds", "{" + feeds + "}"),
      fmt::arg("metrics", images ? metrics(e.snapshot.parent_path(), images) : ""));
}

}  // namespace

void write_card(const Export& e, const fs::path& dir) {
  const SafetensorsFile file = read_networks(e.snapshot);
  const OnnxGraph graph = onnx::to_graph(*e.loaded.g, e.options);
  make_directories(dir);
  write_onnx(dir / "generator.onnx", graph);
  write_safetensors(dir / "model.safetensors", weights_of(file, e.loaded.weights));
  save_png(dir / "samples.png", samples(e.loaded));
  write_text(dir / "README.md", readme(e, file));
}

}  // namespace firn::tools
