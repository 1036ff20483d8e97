// What happens to images before D sees them.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/option.h"

namespace firn {

struct AugmentOptions {
  std::string aug = "noaug";  // or ada, fixed, or diffaug- and what it does in that order: diffaug-color-translation
  double p = 0;               // of fixed: how probable each transform is
  double target = 0.6;        // of ada: the mean sign of D's logits of reals, around which p settles
  double ada_kimg = 500;      // in which p would go from 0 to 1
  std::string pipe = "bgc";   // of both

  bool on() const { return aug != "noaug"; }
  bool adapts() const { return aug == "ada"; }
  bool by_probability() const { return adapts() || aug == "fixed"; }
  std::vector<std::string> policy() const;          // of diffaug-
  bool transforms_by(std::string_view name) const;  // whether the pipe has it
  std::string describe() const;                     // of the start-up text: "ada bgc, target 0.6, 500 kimg"
  void visit(OptionVisitor& v);
};

// ConfigError for what `aug` cannot be.
void check_aug(const std::string& text, const char* flag = "--aug");

// Transforms that a pipe is made of, and the groups of them that have a name.
const std::vector<std::string>& ada_transforms();
const std::vector<std::string>& ada_pipes();

}  // namespace firn
