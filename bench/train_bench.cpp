// Milliseconds of each phase of a training iteration (with its optimiser step and averages) and images a second, on
// random data: training/step/iteration.h itself. A full iteration has each phase as often as it is due. Medians over
// --repeats; --cycles times whole runs of iterations as well, until all phases fall together again, within which the
// host need not wait for the device.
//   train_bench --resolution 32 --channel-base 16384 --batch 8 --type bf16 --frozen-layers 4
//   mpirun -n 2 train_bench --resolution 32 --channel-base 16384 --batch 8 --threads 1
#include <fmt/core.h>
#include <sys/resource.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <thread>

#include "engine/communicator.h"
#include "engine/placement.h"
#include "engine/threads.h"
#include "io/files.h"
#include "kernels/choice/provider_numerics.h"
#include "kernels/conv/planning.h"
#include "kernels/device/cpu_limits.h"
#include "kernels/device/device_info.h"
#include "kernels/device/memory.h"
#include "kernels/device/timer.h"
#include "models/freeze.h"
#include "tools/option_rows.h"
#include "tools/own_kernels.h"
#include "training/methods/method.h"
#include "training/step/iteration.h"

namespace {

using namespace firn;

struct Options {
  int resolution = 32, classes = 0, batch = 8, batch_gpu = 0, frozen_blocks = 0, frozen_layers = 0;
  std::vector<std::string> freeze;
  std::string method;
  int warm_up = 1, repeats = 5, cycles = 0, threads = 2;
  double seconds = 0;
  std::string model, type = "f32", device = "cpu", plan_for;
  bool json = false, cache_features = false, bf16_gradients = false;
  Overlay set;  // options of the model
};

constexpr int kRecorded = 3;  // runs until a phase is a graph (engine/replay.h)

double median(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + v.size() / 2, v.end());
  return v[v.size() / 2];
}

double processor_ms() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return double(t.tv_sec) * 1e3 + double(t.tv_nsec) * 1e-6;
}

// A GPU: its events. The CPU with one thread of one process: processor time, which neighbours on the machine do not
// inflate; with more: the clock on the wall.
template <class F>
double time_ms(kernels::DeviceTimer& timer, const Device& device, int processes, F&& work) {
  const bool alone = !device.is_cuda() && threads() == 1 && processes == 1;
  const double begin = processor_ms();
  timer.start();
  work();
  const double ms = timer.stop();
  return alone ? processor_ms() - begin : ms;
}

TrainOptions training_options(const Options& o) {
  TrainOptions t = TrainOptions::of(o.model.empty() ? std::string_view(models().front().kind) : o.model);
  ModelBasics basics = t.model.basics();
  basics.images = {o.resolution, o.resolution, 3};
  basics.classes = o.classes;
  t.model.set(basics);
  t.model.set_types(DType::f32, o.type == "bf16" ? DType::bf16 : DType::f32);
  o.set.apply(t);
  t.batch = o.batch;
  t.batch_gpu = o.batch_gpu;
  t.freeze = {.blocks = o.frozen_blocks, .layers = o.frozen_layers, .patterns = o.freeze};
  t.cache_features = o.cache_features;
  t.bf16_gradients = o.bf16_gradients;
  t.init = "noise";  // in whose place methods have the networks as they are
  t.dataset_size = o.batch;
  settle_methods(t, o.set);
  t.check();
  return t;
}

// What rounding on the way between processes does to all gradients of a phase: |rounded - exact| / |exact|.
double rounding_error(const Phase& phase, TrainState& state, Communicator& processes) {
  std::vector<Tensor> running = running_values(state), before;
  for (const Tensor& t : running) {
    before.push_back(t.like());
    before.back().copy_from(t);
  }
  const auto gradients = [&](Wire wire) {
    Rng rng = state.rng;
    return run_phase(phase, state, phase.draw(rng), &rng, processes, wire).gradients;
  };
  const std::vector<Tensor> exact = gradients(Wire::as_is);
  for (size_t i = 0; i < running.size(); ++i) running[i].copy_from(before[i]);
  const std::vector<Tensor> rounded = gradients(Wire::bf16);
  double error = 0, all = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    const std::vector<double> a = rounded[i].to_doubles(), b = exact[i].to_doubles();
    for (size_t k = 0; k < a.size(); ++k) {
      error += (a[k] - b[k]) * (a[k] - b[k]);
      all += b[k] * b[k];
    }
  }
  return all > 0 ? std::sqrt(error / all) : 0;
}

// Runs the phases, and tells how long they took; on a dry device, where each is only noted, nothing.
nlohmann::ordered_json measure(const Options& o, const Device& device, Communicator& processes) {
  const TrainOptions options = training_options(o);
  TrainState state(options, device);
  begin_methods(state, options);
  Reals reals(options, state);
  Iteration iteration(options, state, nullptr, reals, processes);
  constexpr double average_decay = 0.999;
  struct Timed {
    const Phase* phase;
    std::function<void()> run;
    std::vector<double> ms{};
    double flops = 0, done = 0;  // by the direct algorithms, and by those taken
    int64_t sent = 0;            // bytes, of this process
  };
  std::vector<Timed> phases;
  int cycle = 1;
  for (size_t i = 0; i < iteration.phases().size(); ++i) {
    const Phase& phase = iteration.phases()[i];
    if (phase.interval == 0 || phase.until != INT64_MAX) continue;  // never, or not for long
    cycle = std::lcm(cycle, phase.interval);
    const double decay = phases.empty() ? average_decay : 1;
    phases.push_back({&phase, [&iteration, i, decay] { iteration.run_phase(i, decay); }});
  }
  if (device.stream().dry) {
    for (Timed& p : phases) p.run();
    return {};
  }
  kernels::DeviceTimer timer(device.stream());
  const auto begin = std::chrono::steady_clock::now();
  const auto used = [&](double share) {  // of the time allowed
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
    return processes.broadcast(o.seconds > 0 && passed.count() > share * o.seconds ? "over" : "") == "over";
  };
  const int least = device.is_cuda() ? kRecorded : 1;  // the first rounds plan, touch memory and record
  for (int i = 0; i < std::max(least, o.warm_up) && !(i >= least && used(0.25)); ++i)
    for (Timed& p : phases) p.run();
  for (Timed& p : phases) {
    const LaunchCounter counter;
    const int64_t sent = processes.bytes_sent();
    p.run();
    p.sent = processes.bytes_sent() - sent;
    p.flops = counter.flops();
    p.done = counter.done();
  }
  for (int i = 0; i < o.repeats && !(i && used(o.cycles ? 0.5 : 1)); ++i)
    for (Timed& p : phases) p.ms.push_back(time_ms(timer, device, processes.size(), p.run));
  std::vector<double> cycles;
  for (int i = 0; i < o.cycles && !used(1); ++i)
    cycles.push_back(time_ms(timer, device, processes.size(), [&] {
      for (int k = 0; k < cycle; ++k) iteration.run();
    }));

  nlohmann::ordered_json row{{"model", options.model.kind()}, {"resolution", o.resolution}, {"classes", o.classes}};
  const nlohmann::json described = to_json(options.model);
  ModelSpec spec = options.model;
  for_each_option(spec, [&](const Option& option, const OptionValue&) {
    if (o.set.has(option)) row[option.key] = described[option.key];
  });
  row.update(nlohmann::ordered_json{{"batch", o.batch},
                                    {"type", o.type},
                                    {"frozen_blocks", o.frozen_blocks},
                                    {"frozen_layers", o.frozen_layers},
                                    {"freeze", o.freeze},
                                    {"cache_features", o.cache_features}});
  if (!o.method.empty()) row["method"] = o.method;
  if (options.augment.on()) row["aug"] = options.augment.describe();
  double total = 0, flops = 0, done = 0, sent = 0, gradients = 0;
  for (const Timed& p : phases) {
    const double times = p.phase->repeats * p.phase->share();
    row[p.phase->name + "_ms"] = median(p.ms);
    total += median(p.ms) * times;
    flops += p.flops * times;
    done += p.done * times;
    sent += double(p.sent) * times;
    std::vector<std::string> trained = p.phase->beside;
    trained.push_back(p.phase->trains);
    for (const std::string& role : trained)
      gradients += double(state.role(role).network->parameters().trains()) * 4 * times;
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  row["iteration_ms"] = total;
  if (!device.is_cuda()) {
    const kernels::CpuLimits& limits = kernels::cpu_limits();
    const DType type = options.model.basics().activation_type;
    row["iteration_gflop"] = flops / 1e9;
    row["iteration_gflop_done"] = done / 1e9;
    row["sol"] = done / limits.flops(type) / total * 1e3;
    row["sol_direct"] = flops / limits.flops(type) / total * 1e3;
    row["limit_gflops"] = limits.flops(type) / 1e9;
    row["limit_gbs"] = limits.bytes / 1e9;
  }
  if (const int n = processes.size(); n > 1) {
    row["processes"] = n;
    row["batch_gpu"] = options.batch_gpu;
    row["sent_mb"] = sent / 1e6;  // by this process in an iteration; and by 2 (n-1) / n of what it trains
    row["sent_mb_of_gradients"] = 2.0 * (n - 1) / n * gradients / 1e6 / (o.bf16_gradients ? 2 : 1);
    for (const Timed& p : phases)
      if (o.bf16_gradients) row[p.phase->name + "_rounding"] = rounding_error(*p.phase, state, processes);
  }
  row["images_per_s"] = double(iteration.images()) / total * 1e3;
  if (!cycles.empty()) {
    row["cycle_ms"] = median(cycles) / cycle;
    row["cycle_images_per_s"] = double(iteration.images()) * cycle / median(cycles) * 1e3;
  }
  row["tensor_peak_mb"] = double(kernels::memory_use().peak) / 1e6;
  row["peak_mb"] = device.is_cuda() ? row["tensor_peak_mb"].get<double>() : double(usage.ru_maxrss) * 1024 / 1e6;
  row["repeats"] = phases[0].ms.size();
  const kernels::DeviceInfo info = kernels::device_info(device.stream());
  row["device"] = info.name;
  if (device.is_cuda()) {
    row["driver"] = info.driver;
    row["runtime"] = info.runtime;
  } else {
    row["threads"] = o.threads;
  }
  return row;
}

// Plans the phases for the GPU of this stream, or for one that a text describes.
template <class Where>
nlohmann::ordered_json plan(const Options& o, const Where& gpu) {
  const auto begin = std::chrono::steady_clock::now();
  measure(o, Device::dry(), alone());
  const auto count = kernels::plan_noted(gpu, static_cast<int>(std::thread::hardware_concurrency()));
  return {{"operations", count.operations},
          {"planned", count.done},
          {"without_plan", count.unplanned},
          {"restoring_s", count.restoring_s},
          {"seconds", std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()}};
}

nlohmann::ordered_json planned_and_measured(const Options& o, Communicator& processes) {
  if (!o.plan_for.empty()) return plan(o, read_text(o.plan_for));
  const Device device = device_for(o.device, processes);
  nlohmann::ordered_json planned;
  if (device.is_cuda()) planned = plan(o, device.stream());
  nlohmann::ordered_json row = measure(o, device, processes);
  if (!planned.empty()) row["planning_s"] = planned["seconds"];
  return row;
}

void print(const nlohmann::ordered_json& row) {
  for (const auto& [key, value] : row.items()) fmt::print("| {} ", key);
  fmt::print("|\n");
  for (size_t i = 0; i < row.size(); ++i) fmt::print("|---");
  fmt::print("|\n");
  for (const auto& [key, value] : row.items())
    fmt::print("| {} ", value.is_number_float() ? fmt::format("{:.{}f}", value.get<double>(), value < 1 ? 3 : 1)
                        : value.is_string()     ? value.get<std::string>()
                                                : value.dump());
  fmt::print("|\n");
}

}  // namespace

int main(int argc, char** argv) {
  wait_politely(argv);
  Options o;
  CLI::App app{"Speed of a training iteration"};
  app.add_option("--model", o.model, "kind of networks [the first of gan-train --model]");
  app.add_option("--resolution", o.resolution)->capture_default_str();
  app.add_option("--classes", o.classes, "0: unconditional")->check(CLI::NonNegativeNumber)->capture_default_str();
  app.add_option("--batch", o.batch)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--batch-gpu", o.batch_gpu, "at once [the batch, shared by all processes]")
      ->check(CLI::PositiveNumber);
  app.add_option("--type", o.type, "f32 or bf16")->check(CLI::IsMember({"f32", "bf16"}))->capture_default_str();
  app.add_option("--frozen-blocks", o.frozen_blocks, "D's highest-resolution blocks")->capture_default_str();
  app.add_option("--method", o.method, "of adapting a network, as gan-train has it");
  app.add_option("--freeze", o.freeze, "by name or by number of filters, as gan-train has it");
  app.add_option("--frozen-layers", o.frozen_layers, "D's first layers, counted as stylegan2-ada-pytorch does")
      ->capture_default_str();
  app.add_flag("--bf16-gradients", o.bf16_gradients, "processes send each other gradients in bf16");
  app.add_flag("--cache-features", o.cache_features, "the reals enter D behind its frozen blocks");
  app.add_option("--warm-up", o.warm_up, "rounds before the first that counts")->capture_default_str();
  app.add_option("--repeats", o.repeats)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--cycles", o.cycles, "runs of whole cycles of iterations to time")->capture_default_str();
  app.add_option("--seconds", o.seconds, "begin no further round after these [no limit]");
  app.add_option("--threads", o.threads)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--device", o.device, "auto, cpu, cuda or cuda:INDEX")->capture_default_str();
  app.add_option("--plan-for", o.plan_for, "store plans for the GPU that this file describes; measures nothing");
  tools::add_no_own_kernels(app);
  const tools::OptionRows rows = tools::OptionRows::of_steps();
  rows.add_to(app);
  app.add_flag("--json", o.json, "one line of JSON instead of a table");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) ? 2 : 0;
  }
  std::unique_ptr<Communicator> launched;
  try {
    set_threads(o.threads);
    o.set = rows.given(app);
    if (!o.method.empty()) o.set.give("--method", {o.method});
    launched = firn::launched({});
    Communicator& processes = launched ? *launched : alone();
    if (o.batch_gpu == 0) o.batch_gpu = std::max(1, o.batch / processes.size());
    const auto row = planned_and_measured(o, processes);
    if (processes.rank() > 0) return 0;
    if (o.json)
      fmt::print("{}\n", row.dump());
    else
      print(row);
  } catch (const std::exception& e) {
    fmt::print(stderr, "train_bench: {}\n", e.what());
    if (launched) launched->abort(1);  // others wait for this process
    return 1;
  }
}
