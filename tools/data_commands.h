// The commands of gan-data, and what they share. Each adds itself to the command line and runs when it is named.
#pragma once
#include <fmt/core.h>

#include <span>
#include <string>
#include <vector>

#include "io/dataset.h"
#include "io/survey.h"
#include "tools/common.h"

namespace firn::tools {

void add_inspect(CLI::App& app);
void add_convert(CLI::App& app);
void add_idx(CLI::App& app);
void add_montage(CLI::App& app);
void add_augment(CLI::App& app);

void say_line(std::string line);  // on stdout; a failure is sticky and reported at the end
template <class... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  say_line(fmt::format(format, std::forward<Args>(args)...));
}

void say_classes(std::span<const std::string> names, std::span<const int64_t> counts);
void say_broken(const std::vector<BadImage>& bad);

// How the folders of a set are read: the same options in every command.
struct FolderOptions {
  std::string folder;
  bool classes = false;
  void add_to(CLI::App& command);
};

// Sizes that gan-train takes: the shorter side a power of two from 8 to 1024, the longer a multiple of a quarter of it.
bool trainable(Size size);
Size trainable_around(Size size);  // the smallest that holds it; ConfigError when it is larger than all
void say_untrainable(Size size, const char* pad_option);  // a line with the nearest ones, unless it is trainable

}  // namespace firn::tools
