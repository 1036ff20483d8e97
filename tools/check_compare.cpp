#include "tools/check_compare.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/check_phase.h"
#include "tools/option_rows.h"
#include "training/run/run_folder.h"

namespace firn::tools {
namespace {

constexpr const char* compare_notes =
    R"(The difference of two tensors is max |a - b| / max |a|. What divides is at least a thousandth of the phase's
largest gradient, so that in f32 rounding errors around zero do not count (of biases before batch normalisation, say).
Gradients that are one number (strengths of noise) are
measured as one tensor, because a single sum may cancel. Exit code 1: the worst difference is above --tolerance.

Examples:
  gan-check compare --snapshot S --a cpu:f64 --b cpu:f32 --phases Greg,Dreg
  gan-check compare --resolution 256 --channel-base 16384 --batch 4 --a cpu:f32 --b cuda:f32 --tolerance 0.02
)";

StoredTensor normal(const Shape& shape, Rng& rng, double scale = 1) {
  return StoredTensor::of(std::span<const float>((randn(shape, rng, DType::f32, Device::cpu()) * scale).to_floats()),
                          shape);
}

TrainOptions fresh_options(const CompareArguments& a) {
  TrainOptions options = TrainOptions::of(a.model.empty() ? std::string_view(models().front().kind) : a.model);
  ModelBasics basics = options.model.basics();
  basics.images = {a.resolution, a.resolution, 3};
  basics.classes = a.classes;
  options.model.set(basics);
  options.seed = a.seed;
  a.set.apply(options);
  return options;
}

// As a snapshot would hold them, every parameter moved a little: some begin as a constant, and everything shall take
// part.
SafetensorsFile fresh_networks(const TrainOptions& options) {
  const TrainState state(options, Device::cpu());
  Rng rng{.seed = options.seed};
  SafetensorsFile file;
  for (const Role& role : state.roles)
    for (Parameter p : role.network->parameters()) {
      if (!p.buffer()) p.value().copy_from(p.value() + randn(p.value().shape(), rng, DType::f32, Device::cpu()) * 0.1);
      file.tensors[role.name + "." + p.name()] = stored(p);
    }
  return file;
}

// Of every phase, under the names of the first that asks for one.
SafetensorsFile random_inputs(const TrainOptions& options, int batch, uint64_t seed) {
  using Kind = Phase::Input::Kind;
  TrainState state(options, Device::cpu());
  Rng rng{.seed = seed + 1};
  SafetensorsFile file;
  for (const Phase& phase : phases_of({.options = options, .state = state}))
    for (const Phase::Input& input : phase.inputs) {
      const std::string& name = input.file.empty() ? input.name : input.file;
      if (file.contains(name) || (input.kind == Kind::label && options.model.classes() == 0)) continue;
      if (input.kind == Kind::label) {
        std::vector<int64_t> classes;
        for (int i = 0; i < batch; ++i) classes.push_back(rng.integer(0, options.model.classes()));
        file.tensors[name] = StoredTensor::of(std::span<const int64_t>(classes), {batch});
      } else if (input.kind == Kind::images) {
        file.tensors[name] =
            normal({batch, input.shape[2], input.shape[0], input.shape[1]}, rng, name == "images" ? 0.5 : 1);
      } else {
        Shape shape = {batch};
        shape.insert(shape.end(), input.shape.begin(), input.shape.end());
        file.tensors[name] = normal(shape, rng);
      }
    }
  return file;
}

struct Value {
  std::string phase, name;
  std::vector<double> numbers;
};

struct Side {
  Device device;
  std::string type;

  static Side named(const std::string& name) {
    const size_t colon = name.rfind(':');
    if (colon == name.npos) throw ConfigError(fmt::format("'{}': expected DEVICE:TYPE, like cpu:f32", name));
    return {Device::from_name(name.substr(0, colon)), name.substr(colon + 1)};
  }
};

// The loss and every gradient of each phase on one of the two sides.
std::vector<Value> values_on(const Side& side, const CompareArguments& a, const TrainOptions& options,
                             const SafetensorsFile& networks, const SafetensorsFile& inputs) {
  Check subject(options, networks, side.type, side.device);
  std::vector<Value> values;
  std::vector<std::string> phases = a.phases;
  if (phases.empty())
    for (const Phase& phase : subject.phases) phases.push_back(phase.name);
  for (const std::string& phase : phases) {
    const PhaseResult result = subject.run(phase, inputs);
    values.push_back({phase, "loss", {result["loss"].item()}});
    const Parameters trained = subject.trained(phase);
    for (size_t i = 0; i < trained.size(); ++i)
      values.push_back({phase, "grad." + trained[i].name(), result.gradients[i].to_doubles()});
  }
  return values;
}

double largest(const std::vector<double>& numbers) {
  double most = 0;
  for (const double v : numbers) most = std::max(most, std::abs(v));
  return most;
}

// max |a - b| / scale; infinite where either is not a number.
double difference(const std::vector<double>& a, const std::vector<double>& b, double scale) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(a[i] - b[i]);
    if (!std::isfinite(d)) return INFINITY;
    most = std::max(most, d);
  }
  return most == 0 ? 0 : most / scale;
}

struct Row {
  const Value* value;
  double largest, difference;
};

std::vector<Row> differences(const std::vector<Value>& a, const std::vector<Value>& b) {
  std::map<std::string, double> of_phase, of_single_numbers;
  for (const Value& v : a) {
    if (v.name == "loss") continue;
    const double own = largest(v.numbers);
    of_phase[v.phase] = std::max(of_phase[v.phase], own);
    if (v.numbers.size() == 1) of_single_numbers[v.phase] = std::max(of_single_numbers[v.phase], own);
  }
  std::vector<Row> rows;
  for (size_t i = 0; i < a.size(); ++i) {
    const std::string& phase = a[i].phase;
    const double own = largest(a[i].numbers),
                 shared = a[i].numbers.size() == 1 ? of_single_numbers[phase] : 1e-3 * of_phase[phase],
                 scale = a[i].name == "loss" ? own : std::max(own, shared);
    rows.push_back({&a[i], own, difference(a[i].numbers, b[i].numbers, scale)});
  }
  return rows;
}

void print_json(const CompareArguments& arguments, const std::vector<Row>& rows, const Row& worst, bool passed) {
  nlohmann::ordered_json json{{"a", arguments.a}, {"b", arguments.b}, {"rows", nlohmann::json::array()}};
  for (const Row& r : rows)
    json["rows"].push_back(
        {{"phase", r.value->phase}, {"tensor", r.value->name}, {"largest", r.largest}, {"difference", r.difference}});
  json["worst"] = worst.difference;
  json["worst_tensor"] = worst.value->phase + " " + worst.value->name;
  if (arguments.tolerance >= 0) json["tolerance"] = arguments.tolerance;
  json["passed"] = passed;
  fmt::print("{}\n", json.dump());
}

void print_table(const CompareArguments& arguments, const std::vector<Row>& rows, const Row& worst, bool passed) {
  fmt::print("{:6} {:44} {:>10} {:>10}\n", "phase", "tensor", "max |a|", "difference");
  for (const Row& r : rows)
    fmt::print("{:6} {:44} {:10.2e} {:10.2e}\n", r.value->phase, r.value->name, r.largest, r.difference);
  fmt::print("worst: {:.2e}, {} {}; a = {}, b = {}{}\n", worst.difference, worst.value->phase, worst.value->name,
             arguments.a, arguments.b, passed ? "" : fmt::format("; above the tolerance {}", arguments.tolerance));
}

}  // namespace

void add_options(CLI::App& app, CompareArguments& a) {
  app.add_option("--a", a.a, "DEVICE:TYPE that is taken to be right; types are f32, f64 and bf16")
      ->capture_default_str();
  app.add_option("--b", a.b, "DEVICE:TYPE that is held against it")->required();
  app.add_option("--phases", a.phases, "some of the phases, as Gmain,Dreg [all]")->delimiter(',');
  app.add_option("--tolerance", a.tolerance, "largest difference that is accepted [any]");
  CLI::Option* const snapshot =
      app.add_option("--snapshot", a.snapshot, "networks of a snapshot of gan-train [fresh ones]");
  app.add_option("--model", a.model, "of fresh networks")->excludes(snapshot);
  app.add_option("--resolution", a.resolution, "likewise")->capture_default_str()->excludes(snapshot);
  app.add_option("--classes", a.classes, "likewise; 0: unconditional")
      ->check(CLI::Range(0, 100'000))
      ->excludes(snapshot);
  app.add_option("--inputs", a.inputs, "what the phases are given, as without compare [random numbers]");
  app.add_option("--batch", a.batch, "of random inputs")->check(CLI::Range(1, 4096))->capture_default_str();
  app.add_option("--seed", a.seed, "of fresh networks and random inputs")->capture_default_str();
  app.add_option("--threads", a.threads, "CPU threads [all]");
  app.add_flag("--json", a.json, "one line of JSON instead of a table");
  for (CLI::Option* o : OptionRows::of_models().add_to(app)) o->excludes(snapshot);
  app.footer(compare_notes);
}

int compare(const CompareArguments& arguments) {
  use_threads(arguments.threads);
  const Side side_a = Side::named(arguments.a), side_b = Side::named(arguments.b);  // both there before the work begins
  TrainOptions options;
  SafetensorsFile networks;
  if (arguments.snapshot.empty()) {
    options = fresh_options(arguments);
    networks = fresh_networks(options);
  } else {
    networks = read_safetensors(snapshot_file(arguments.snapshot));
    options = snapshot_options(networks);
  }
  const SafetensorsFile inputs = arguments.inputs.empty() ? random_inputs(options, arguments.batch, arguments.seed)
                                                          : read_safetensors(arguments.inputs);
  const std::vector<Value> a = values_on(side_a, arguments, options, networks, inputs),
                           b = values_on(side_b, arguments, options, networks, inputs);

  const std::vector<Row> rows = differences(a, b);
  const Row& worst = *std::ranges::max_element(rows, {}, &Row::difference);
  const bool passed = arguments.tolerance < 0 || worst.difference <= arguments.tolerance;
  arguments.json ? print_json(arguments, rows, worst, passed) : print_table(arguments, rows, worst, passed);
  flush_output();
  return passed ? 0 : 1;
}

}  // namespace firn::tools
