#include "tools/compare_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/text.h"
#include "io/json.h"

namespace firn::tools {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

std::vector<std::string> words(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> all;
  for (std::string word; in >> word;) all.push_back(word);
  return all;
}

// Lower case, with a dash for each run of other characters.
std::string folder_name(const std::string& name) {
  std::string text;
  for (const char c : lower_case(name))
    if (std::isalnum(static_cast<unsigned char>(c)))
      text += c;
    else if (!text.empty() && text.back() != '-')
      text += '-';
  while (text.ends_with('-')) text.pop_back();
  return text;
}

struct Reader {
  const std::string& name;
  const fs::path& root;

  [[noreturn]] void fail(const std::string& what) const { throw ConfigError(fmt::format("{}: {}", name, what)); }

  void only(const Json& object, const std::string& where, const std::set<std::string>& keys) const {
    if (!object.is_object()) fail(fmt::format("{} should be an object", where));
    for (const auto& [key, value] : object.items())
      if (!keys.contains(key)) {
        std::string all;
        for (const std::string& k : keys) all += (all.empty() ? "" : ", ") + k;
        fail(fmt::format("{} has no member \"{}\"; there are {}", where, printable(key, 40), all));
      }
  }
  std::string text(const Json& object, const char* key, const std::string& where, bool needed = false) const {
    const auto it = object.find(key);
    if (it == object.end() && !needed) return {};
    if (it == object.end() || !it->is_string() || it->get<std::string>().empty())
      fail(fmt::format("{} should have a text \"{}\"", where, key));
    return it->get<std::string>();
  }
  fs::path path(const std::string& given) const {
    return given.empty() || fs::path(given).is_absolute() ? fs::path(given) : root / given;
  }
  std::vector<std::string> options(const Json& object, const std::string& where) const {
    return run_options(text(object, "options", where), fmt::format("{}: {}", name, where));
  }
  ComparePlan::Item item(const Json& object, const std::string& where, bool has_data) const {
    only(object, where,
         has_data ? std::set<std::string>{"name", "data", "options"} : std::set<std::string>{"name", "options"});
    ComparePlan::Item item{.name = text(object, "name", where, true), .options = options(object, where), .data = {}};
    if (has_data) item.data = path(text(object, "data", where, true));
    if (folder_name(item.name).empty()) fail(fmt::format("{}: a name needs a letter or a digit", where));
    return item;
  }
  std::vector<ComparePlan::Item> items(const Json& plan, const char* key, bool has_data) const {
    const auto list = plan.find(key);
    if (list == plan.end() || !list->is_array() || list->empty()) fail(fmt::format("\"{}\" should list some", key));
    std::vector<ComparePlan::Item> all;
    std::set<std::string> folders;
    for (const Json& one : *list) {
      all.push_back(item(one, fmt::format("{} {}", key, all.size() + 1), has_data));
      if (!folders.insert(folder_name(all.back().name)).second)
        fail(fmt::format("two of \"{}\" are called {}", key, all.back().name));
    }
    return all;
  }
};

}  // namespace

std::vector<std::string> run_options(const std::string& text, const std::string& where) {
  const std::vector<std::string> all = words(text);
  for (const std::string& word : all)
    for (const char* ours :
         {"--outdir", "--run-name", "--init", "--resume", "--data", "--seed", "--source", "-n", "--dry-run",
          "--plan-for", "-h", "--help", "--help-methods", "--list-options", "--version"})
      if (word == ours || word.starts_with(std::string(ours) + "="))
        throw ConfigError(fmt::format("{}: {} is for gan-compare to say", where, ours));
  return all;
}

ComparePlan parse_plan(const std::string& text, const std::string& name, const fs::path& data_root) {
  const fs::path root = data_root.empty() ? fs::absolute(name).parent_path() : fs::absolute(data_root);
  const Reader read{name, root};
  const Json json = parse_json(text, name, {.depth = 6, .values = 1 << 16});
  read.only(json, "the plan", {"title", "note", "source", "pretrain", "options", "targets", "methods", "seeds"});
  ComparePlan plan;
  plan.title = read.text(json, "title", "the plan", true);
  plan.note = read.text(json, "note", "the plan");
  plan.source = read.path(read.text(json, "source", "the plan"));
  if (const auto it = json.find("pretrain"); it != json.end()) plan.pretrain = read.item(*it, "pretrain", true);
  plan.options = read.options(json, "the plan");
  plan.targets = read.items(json, "targets", true);
  plan.methods = read.items(json, "methods", false);
  if (const auto it = json.find("seeds"); it != json.end()) {
    if (!it->is_array() || it->empty() ||
        !std::ranges::all_of(*it, [](const Json& s) { return s.is_number_unsigned() && s < (1u << 31); }))
      read.fail("\"seeds\" should list numbers from 0 on");
    plan.seeds = it->get<std::vector<int64_t>>();
    if (std::set(plan.seeds.begin(), plan.seeds.end()).size() != plan.seeds.size()) read.fail("a seed comes twice");
  }
  std::set<std::string> ids;
  for (const ComparePlan::Run& run : plan.runs())
    if (!ids.insert(run.id).second)
      read.fail(fmt::format("two runs would have the folder {}; give other names", run.id));
  return plan;
}

std::vector<ComparePlan::Run> ComparePlan::runs() const {
  std::vector<Run> all;
  for (size_t t = 0; t < targets.size(); ++t)
    for (const int64_t seed : seeds)
      for (size_t m = 0; m < methods.size(); ++m) {
        Run run{.id = fmt::format("{}-{}-seed{}", folder_name(targets[t].name), folder_name(methods[m].name), seed),
                .target = t,
                .method = m,
                .seed = seed,
                .arguments = {"--data", targets[t].data.string(), "--seed", std::to_string(seed)}};
        for (const auto* more : {&options, &targets[t].options, &methods[m].options})
          run.arguments.insert(run.arguments.end(), more->begin(), more->end());
        all.push_back(std::move(run));
      }
  return all;
}

}  // namespace firn::tools
