// gan-data: looks into image sets and turns folders, zips and idx files into the zip layout that Firn trains from.
#include "tools/data_commands.h"

namespace {

int run_command(int argc, char** argv) {
  using namespace firn;
  CLI::App app("Looks into image sets and converts them for training. See `gan-data COMMAND --help` for examples.",
               "gan-data");
  app.require_subcommand(1);
  tools::add_inspect(app);
  tools::add_convert(app);
  tools::add_idx(app);
  tools::add_montage(app);
  tools::add_augment(app);
  bool proceed;
  return tools::parse(app, argc, argv, proceed);
}

}  // namespace

int main(int argc, char** argv) {
  return firn::tools::guarded("gan-data", [&] { return run_command(argc, argv); });
}
