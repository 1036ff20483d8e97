// gan-data montage: titled pictures side by side.
#include <memory>

#include "base/error.h"
#include "io/images.h"
#include "tools/data_commands.h"
#include "tools/numbers.h"

namespace firn::tools {
namespace {

struct Montage {
  std::string destination;
  std::vector<std::string> panels;
  int columns = 2, scale = 1;

  CLI::App* add_to(CLI::App& app) {
    auto* command = app.add_subcommand("montage", "Put titled pictures side by side");
    command->add_option("destination", destination, "PNG to write")->required();
    command->add_option("panels", panels, "TITLE=FILE, ...")->required();
    command->add_option("--columns", columns, "Pictures in a row")->check(whole(1, 64))->capture_default_str();
    command->add_option("--scale", scale, "Enlarge by this factor")->check(whole(1, 16))->capture_default_str();
    command->footer("Example:\n  gan-data montage both.png 'before=a.png' 'after=b.png'");
    return command;
  }

  void run() const {
    require_png_name("montage", destination);
    std::vector<Image> titled;
    for (const std::string& panel : panels) {
      const size_t equals = panel.find('=');
      if (equals == std::string::npos) throw ConfigError(fmt::format("panel '{}': expected TITLE=FILE", panel));
      require_other_file(destination, panel.substr(equals + 1));
      titled.push_back(with_title(upscale(load_image(panel.substr(equals + 1)), scale), panel.substr(0, equals), 2));
    }
    save_png(destination, grid(titled, columns, 12));
    say("wrote {}", destination);
  }
};

}  // namespace

void add_montage(CLI::App& app) {
  const auto command = std::make_shared<Montage>();
  command->add_to(app)->final_callback([command] { command->run(); });
}

}  // namespace firn::tools
