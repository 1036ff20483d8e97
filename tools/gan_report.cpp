// gan-report: one self-contained page about one or several runs.
#include "base/text.h"
#include "tools/common.h"
#include "training/report/page.h"

namespace fs = std::filesystem;
using namespace firn;

namespace {

constexpr const char* examples = R"(Examples:
  gan-report runs/00000-faces-64-small report.html
  gan-report runs/00001-* runs/00002-* compared.html

gan-train --report keeps RUN/report.html up to date by itself.
)";

struct Arguments {
  std::vector<fs::path> runs;
  fs::path page;
};

Arguments arguments_of(const std::vector<std::string>& given) {
  const auto usage = [](const std::string& what) {
    return ConfigError(what + ": gan-report RUN... OUT.html takes run folders and, last, the page to write");
  };
  if (given.empty()) throw usage("nothing is given");
  const fs::path page = given.back();
  std::error_code none;
  if (fs::is_directory(page, none)) throw usage(fmt::format("{} is a folder", printable(page.string())));
  if (const std::string end = lower_case(page.extension().string()); end != ".html" && end != ".htm")
    throw usage(fmt::format("{} does not end in .html", printable(page.string())));
  if (given.size() < 2) throw usage("no run is given");
  return {.runs = {given.begin(), given.end() - 1}, .page = page};
}

}  // namespace

int main(int argc, char** argv) {
  return tools::guarded("gan-report", [&] {
    CLI::App app("Writes one self-contained page about one or several runs: curves, samples, results, cost, options.",
                 "gan-report");
    std::vector<std::string> given;
    app.add_option("runs-and-page", given, "run folders and, last, the page to write");
    app.footer(examples);
    bool proceed;
    const int code = tools::parse(app, argc, argv, proceed);
    if (!proceed) return code;
    const Arguments a = arguments_of(given);
    write_report(a.runs, a.page);
    fmt::print("wrote {}, {:.1f} MB\n", a.page.string(), double(fs::file_size(a.page)) / 1e6);
    return 0;
  });
}
