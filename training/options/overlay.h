// What a user set by name, over a configuration's values or a resumed run's.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "models/registry.h"
#include "training/options/options.h"

namespace firn {

class Overlay {
 public:
  Overlay() = default;
  Overlay(std::initializer_list<std::pair<std::string, std::string>> given);  // {"--batch", "16"}

  void give(const std::string& flag, std::vector<std::string> texts) { given_[flag] = std::move(texts); }
  bool has(const std::string& flag) const { return given_.contains(flag); }
  bool has(const Option& option) const { return texts(option) != nullptr; }
  std::optional<std::string> take(const std::string& flag);  // its text, which is no longer given
  // ConfigError for text that no value is, and for a flag that this model and objective have no row for.
  void apply(TrainOptions& options) const;
  // As a resumed run takes it: ConfigError also for what would change that may not.
  void apply_resumed(TrainOptions& options) const;

 private:
  const std::vector<std::string>* texts(const Option& option) const;
  std::map<std::string, std::vector<std::string>> given_;  // by the first name of each flag
};

// Fills in model, loss and schedule for images of this size: the configuration, then what `source` tells of its model,
// then what is given. A transfer has no EMA ramp. Several processes get a micro-batch each, unless its size is given.
// Says what was taken from the source; empty: nothing.
std::string configure(TrainOptions& options, const ImageShape& images, int classes, const Overlay& given,
                      const SourceModel* source = nullptr, int processes = 1);
std::string configure(TrainOptions& options, const Dataset& data, const Overlay& given,
                      const SourceModel* source = nullptr, int processes = 1);

}  // namespace firn
