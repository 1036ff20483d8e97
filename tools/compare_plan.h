// What gan-compare runs: every method on every target with every seed, from one source.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace firn::tools {

struct ComparePlan {
  struct Item {
    std::string name;
    std::vector<std::string> options;  // of gan-train
    std::filesystem::path data;        // of targets, and of a source that is to be trained
  };
  std::string title;
  std::filesystem::path source;  // a snapshot; empty: `pretrain` makes it
  Item pretrain;
  std::vector<std::string> options;  // of every run but the source's
  std::vector<Item> targets, methods;
  std::vector<int64_t> seeds = {0};
  std::string note;  // what it repeats, for the tables

  struct Run {
    std::string id;  // of its folder: "anime-100-freezed-2-seed0"
    size_t target = 0, method = 0;
    int64_t seed = 0;
    std::vector<std::string> arguments;  // of gan-train, without --outdir and --init
  };
  std::vector<Run> runs() const;  // by target, then seed, then method: unfinished tables compare alike
};

// From JSON. `data_root` is what relative paths of data begin with; empty: the plan's folder. IoError for a plan that
// cannot be read, ConfigError for one that makes no sense.
ComparePlan parse_plan(const std::string& text, const std::string& name, const std::filesystem::path& data_root);

// Words of `text`, which are options of gan-train. ConfigError for those that a comparison sets itself, and for those
// after which gan-train trains nothing.
std::vector<std::string> run_options(const std::string& text, const std::string& where);

struct KnownPlan {
  const char *name, *text;
};
const std::vector<KnownPlan>& known_plans();  // tools/plans/*.json

}  // namespace firn::tools
