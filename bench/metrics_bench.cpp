// Images a second through a feature network, on random images and weights: the median over --repeats.
//   metrics_bench --network inception --batch 16 --type bf16 --json
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "base/error.h"
#include "engine/threads.h"
#include "kernels/device/device_info.h"
#include "kernels/device/timer.h"
#include "models/features/features.h"

namespace {

using namespace firn;

struct Options {
  std::string network = "inception", type = "f32", device = "cpu", weights;
  int batch = 16, repeats = 7, threads = 2;
  bool json = false;
};

// Of the published shapes, which the golden values hold too.
SafetensorsFile random_weights(const std::string& network) {
  SafetensorsFile file{.tensors = {}, .metadata = {}, .name = "random weights"};
  const SafetensorsFile golden = read_safetensors(std::filesystem::path(FIRN_GOLDEN) / "features.safetensors");
  std::istringstream lines(golden.metadata.at(network + "/1"));
  std::minstd_rand random(1);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    std::vector<int64_t> shape;
    for (int64_t d; words >> d;) shape.push_back(d);
    const bool kernel = shape.size() > 1, scale = !kernel && !name.ends_with("bias") && !name.ends_with("mean");
    const float size = kernel ? std::sqrt(6 / float(count(shape) / shape[0])) : 0.1f;
    std::vector<float> values(size_t(count(shape)));
    for (float& v : values) v = float(scale) + size * (2 * float(random()) / float(random.max()) - 1);
    file.tensors[name] = StoredTensor::of(std::span<const float>(values), shape);
  }
  return file;
}

nlohmann::ordered_json measure(const Options& o) {
  const NoGrad inference;
  const Device device = Device::from_name(o.device);
  const FeatureOptions options{.type = o.type == "bf16" ? DType::bf16 : DType::f32};
  const auto network = o.weights.empty() ? feature_model(o.network).make(random_weights(o.network), options, device)
                                         : load_features(feature_weights(o.weights), options, device);
  Rng rng{.seed = 1};
  const Shape shape{o.batch, network->size(), network->size(), 3};
  const Tensor images = uniform(shape, 0, 255, rng, DType::f32, device);
  kernels::DeviceTimer timer(device.stream());
  std::vector<double> ms;
  for (int i = -2; i < o.repeats; ++i) {  // the first ones plan and touch memory
    timer.start();
    const auto out = (*network)(images);
    const double passed = timer.stop();
    if (i >= 0) ms.push_back(passed);
  }
  std::ranges::sort(ms);
  const double median = ms[ms.size() / 2];
  return {{"network", o.network},
          {"batch", o.batch},
          {"type", o.type},
          {"ms", median},
          {"images_per_s", o.batch / median * 1e3},
          {"repeats", o.repeats},
          {"device", kernels::device_info(device.stream()).name},
          {"threads", o.threads}};
}

}  // namespace

int main(int argc, char** argv) {
  wait_politely(argv);
  Options o;
  CLI::App app{"Speed of feature networks"};
  app.add_option("--network", o.network, "a name of docs/features.md");
  app.add_option("--features", o.weights, "File of weights instead of random ones; names the network, too");
  app.add_option("--batch", o.batch, "Images at once")->check(CLI::PositiveNumber);
  app.add_option("--type,--precision", o.type, "Of activations")->check(CLI::IsMember({"f32", "bf16"}));
  app.add_option("--device", o.device, "cpu or cuda");
  app.add_option("--threads", o.threads, "CPU threads")->check(CLI::PositiveNumber);
  app.add_option("--repeats", o.repeats, "Batches that are timed")->check(CLI::PositiveNumber);
  app.add_flag("--json", o.json, "One line of JSON");
  CLI11_PARSE(app, argc, argv);
  try {
    set_threads(o.threads);
    const nlohmann::ordered_json row = measure(o);
    if (o.json)
      fmt::print("{}\n", row.dump());
    else
      fmt::print("{} {}: {:.1f} images/s\n", o.network, o.type, row["images_per_s"].get<double>());
  } catch (const Error& e) {
    fmt::print(stderr, "metrics_bench: {}\n", e.what());
    return 1;
  }
}
