// gan-compare: methods beside each other, as papers compare them: a plan, its runs, tables, curves and samples.
#include <fmt/ranges.h>

#include <thread>

#include "base/text.h"
#include "io/files.h"
#include "tools/common.h"
#include "tools/compare_jobs.h"
#include "tools/compare_plan.h"
#include "tools/compare_results.h"
#include "tools/numbers.h"
#include "tools/progress.h"
#include "training/report/page.h"

namespace fs = std::filesystem;
using namespace firn;

namespace {

constexpr const char* examples = R"(Examples:
  gan-compare fashion --out compared                    # a plan that comes with the program; --list names them
  gan-compare plan.json --out compared --jobs 2         # goes on where it was stopped
  gan-compare freezed-methods --source ffhq.safetensors --data-root animal-faces --out compared

A plan is JSON (docs/compare.md): a source, targets, methods with options of gan-train, seeds.
)";

struct Arguments {
  std::string plan, out, source, data_root, options;
  int jobs = 1, threads = 0;
  bool list = false, print = false, tables_only = false;
};

std::string text_of(const std::string& plan) {
  for (const tools::KnownPlan& known : tools::known_plans())
    if (plan == known.name) return known.text;
  std::error_code none;
  if (fs::exists(plan, none)) return read_text(plan);
  std::vector<std::string> names;
  for (const tools::KnownPlan& known : tools::known_plans()) names.push_back(known.name);
  throw ConfigError(
      fmt::format("there is no plan {}; there are files and {}", printable(plan, 200), fmt::join(names, ", ")));
}

// The source, trained where the plan says how.
std::string source_of(const tools::ComparePlan& plan, const Arguments& a, const tools::JobRules& rules) {
  if (!a.source.empty()) return fs::absolute(a.source).string();
  if (!plan.source.empty()) return fs::absolute(plan.source).string();
  if (plan.pretrain.name.empty()) throw ConfigError("this plan has no source of its own; --source FILE names it");
  tools::Job job{.name = plan.pretrain.name, .folder = fs::path(a.out) / "source", .arguments = plan.pretrain.options};
  job.arguments.insert(job.arguments.begin(), {"--data", plan.pretrain.data.string()});
  tools::JobRules alone = rules;
  alone.threads = a.threads;
  const std::vector<std::string> failed = tools::run_jobs({job}, alone);
  if (!failed.empty()) throw Error(failed[0]);
  const fs::path run = tools::run_of(job.folder);
  return run.empty() ? "" : fs::absolute(run / "snapshot-latest.safetensors").string();
}

void write_results(const tools::ComparePlan& plan, const fs::path& out) {
  const tools::Results results = tools::results_of(plan, out);
  const std::string table = markdown(plan, results);
  write_text(out / "results.md", table);
  write_text(out / "results.csv", csv(plan, results));
  write_text(out / "results.tex", latex(plan, results));
  std::vector<std::string> names = {"results.md", "results.csv", "results.tex"};
  for (const auto& write : {tools::write_curves, tools::write_samples})
    for (const fs::path& path : write(plan, out)) names.push_back(path.filename().string());
  std::vector<fs::path> runs;
  for (const auto& run : plan.runs())
    if (const fs::path found = tools::run_of(out / "runs" / run.id); !found.empty()) runs.push_back(found);
  if (!runs.empty()) {
    write_report(runs, out / "report.html");
    names.push_back("report.html");
  }
  fmt::print("{}\nwrote {} in {}\n", table, fmt::join(names, ", "), out.string());
}

int compare(const Arguments& a, tools::StopRequest& stop) {
  if (a.list) {
    for (const tools::KnownPlan& known : tools::known_plans())
      fmt::print("{:<20} {}\n", known.name, tools::parse_plan(known.text, known.name, ".").title);
    return 0;
  }
  if (a.plan.empty()) throw ConfigError("give a plan; --list names those that come with the program");
  const std::string text = text_of(a.plan);
  if (a.print) {
    fmt::print("{}", text);
    return 0;
  }
  if (a.out.empty()) throw ConfigError("--out says in which folder to work");
  tools::ComparePlan plan = tools::parse_plan(text, a.plan, a.data_root);
  const std::vector<std::string> more = tools::run_options(a.options, "--options");
  plan.options.insert(plan.options.end(), more.begin(), more.end());
  const fs::path out = fs::absolute(a.out);
  make_directories(out);
  const DirectoryLock lock(out);
  if (a.tables_only) {
    write_results(plan, out);
    return 0;
  }
  for (const auto& target : plan.targets)
    if (!fs::exists(target.data))
      throw IoError(fmt::format("{}: the images of {} are not there; --data-root says where they are",
                                target.data.string(), target.name));
  stop.note_first();
  tools::Line line;
  const int cores = std::max(1, int(std::thread::hardware_concurrency()));
  tools::JobRules rules{.at_once = a.jobs,
                        .threads = a.threads > 0 ? a.threads
                                   : a.jobs > 1  ? std::max(1, cores / a.jobs)
                                                 : 0,
                        .stop = &stop.signal(),
                        .say = [&](const std::string& text) { line.say(text); },
                        .show =
                            [&](const std::string& text) {
                              if (line.terminal()) line.show(text);
                            }};
  const std::string source = source_of(plan, a, rules);
  std::error_code none;
  if (!stop.signal() && !fs::exists(source, none)) throw IoError(fmt::format("there is no source {}", source));
  std::vector<tools::Job> jobs;
  for (const auto& run : plan.runs()) {
    tools::Job job{.name = run.id, .folder = out / "runs" / run.id, .arguments = run.arguments};
    job.arguments.insert(job.arguments.end(), {"--init", source});
    jobs.push_back(std::move(job));
  }
  std::vector<std::string> failed;
  if (!stop.signal()) failed = tools::run_jobs(jobs, rules);
  line.clear();
  if (stop.signal()) {
    line.say("stopped; the same command goes on");
    return 128 + stop.signal();
  }
  write_results(plan, out);
  if (failed.empty()) return 0;
  throw Error(fmt::format("{} of {} runs failed, the first: {}", failed.size(), jobs.size(), failed[0]));
}

}  // namespace

int main(int argc, char** argv) {
  return tools::guarded("gan-compare", [&](tools::StopRequest& stop) {
    CLI::App app("Compares methods of adapting a network: runs a plan, then writes tables, curves and samples.",
                 "gan-compare");
    Arguments a;
    app.add_option("plan", a.plan, "a file, or the name of one that comes with the program");
    tools::Group what(app, "What to run");
    what.add("--source", a.source, "the snapshot that all runs begin with [that of the plan]");
    what.add("--data-root", a.data_root, "what relative paths of data begin with [the plan's folder]");
    what.add("--options", a.options, "further options of gan-train for all runs: --options='--kimg 5'");
    what.flag("--list", a.list, "name the plans that come with the program, and stop");
    what.flag("--print", a.print, "print the plan, and stop");
    tools::Group where(app, "Where and how");
    where.add("--out", a.out, "the folder of runs and results; a comparison that is there goes on");
    where.add("--jobs", a.jobs, "runs side by side [1]")->check(tools::whole(1, 64));
    where.add("--threads", a.threads, "CPU threads of each [all, shared by the jobs]")->check(tools::whole(0, 1024));
    where.flag("--tables-only", a.tables_only, "write the results of what is there, and stop");
    app.footer(examples);
    bool proceed;
    const int code = tools::parse(app, argc, argv, proceed);
    return proceed ? compare(a, stop) : code;
  });
}
