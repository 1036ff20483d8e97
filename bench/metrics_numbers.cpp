// Time and value of a measure on features from a file (tensors "a", reals, and "b", fakes): the best of --repeats.
//   metrics_numbers --measure prdc --features features.safetensors --json
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "engine/threads.h"
#include "io/safetensors.h"
#include "metrics/numbers/frechet.h"
#include "metrics/numbers/kernel_distance.h"
#include "metrics/numbers/neighbours.h"
#include "metrics/numbers/sliced.h"

namespace {

using namespace firn;

using Measure = std::function<std::vector<double>(const Matrix&, const Matrix&)>;
const std::map<std::string, Measure> measures = {
    {"fid", [](const Matrix& a, const Matrix& b) { return std::vector{frechet_distance(a, b)}; }},
    {"kid", [](const Matrix& a, const Matrix& b) { return std::vector{kernel_distance(a, b).mean}; }},
    {"prdc",
     [](const Matrix& a, const Matrix& b) {
       const Manifolds m = compare_manifolds(a, b, 5);
       return std::vector{m.precision, m.recall, m.density, m.coverage};
     }},
    {"mind",
     [](const Matrix& a, const Matrix& b) {
       return std::vector{3 * double(a.columns) * sliced_distance(a, b, {.directions = 10000}).mean_square};
     }},
    {"swd", [](const Matrix& a, const Matrix& b) {
       return std::vector{1000 * sliced_distance(a, b, {.directions = 512}).mean};
     }}};

Matrix matrix(const SafetensorsFile& file, const std::string& name) {
  const StoredTensor& t = file.at(name);
  Matrix m(t.shape.at(0), t.shape.at(1));
  m.values = t.to_doubles();
  return m;
}

}  // namespace

int main(int argc, char** argv) {
  wait_politely(argv);
  std::string measure = "fid", features;
  int threads = 2, repeats = 1;
  bool json = false;
  CLI::App app{"Speed of measures on features"};
  app.add_option("--measure", measure, "fid, kid, prdc, mind or swd");
  app.add_option("--features", features, "Safetensors file with a [reals,columns] and b [fakes,columns]")->required();
  app.add_option("--threads", threads, "CPU threads")->check(CLI::PositiveNumber);
  app.add_option("--repeats", repeats, "Times that are measured")->check(CLI::PositiveNumber);
  app.add_flag("--json", json, "One line of JSON");
  CLI11_PARSE(app, argc, argv);
  try {
    if (!measures.contains(measure)) throw ConfigError(fmt::format("no measure {}", measure));
    set_threads(threads);
    const SafetensorsFile file = read_safetensors(features);
    const Matrix a = matrix(file, "a"), b = matrix(file, "b");
    double best = INFINITY;
    std::vector<double> values;
    for (int i = 0; i < repeats; ++i) {
      const auto start = std::chrono::steady_clock::now();
      values = measures.at(measure)(a, b);
      best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    if (json)
      fmt::print("{}\n", nlohmann::ordered_json{{"seconds", best}, {"values", values}}.dump());
    else
      fmt::print("{}: {:.3f} s\n", measure, best);
  } catch (const Error& e) {
    fmt::print(stderr, "metrics_numbers: {}\n", e.what());
    return 1;
  }
}
