// Options that have a row (base/option.h) on a command line, of all models at once.
#pragma once
#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "training/options/overlay.h"

namespace firn::tools {

class OptionRows {
 public:
  static OptionRows of_runs();    // of everything that a run keeps
  static OptionRows of_models();  // of what describes networks
  static OptionRows of_steps();   // of that, and of what methods and augmentation have

  std::vector<CLI::Option*> add_to(CLI::App& app) const;
  Overlay given(const CLI::App& app) const;  // once `app` has parsed
  std::string table() const;                 // in Markdown: docs/options.md

 private:
  struct Row {
    Option option;
    std::vector<std::pair<std::string, std::string>> defaults;  // by the kind of each model that has it
    std::string type;                                           // empty: a flag
    bool list = false;
  };
  template <class O>
  void add(const std::string& kind, O options);
  std::vector<Row> rows_;
};

}  // namespace firn::tools
