// Options as JSON objects: one member a row, by its key. What is not there keeps its value.
#pragma once
#include <nlohmann/json.hpp>

#include "base/option.h"

namespace firn {

class JsonWriter : public OptionVisitor {
 public:
  JsonWriter() : objects_{&json} {}
  nlohmann::json json = nlohmann::json::object();

 private:
  void row(const Option& option, OptionValue value) override;
  void enter(const char* key) override;
  void leave() override { objects_.pop_back(); }
  std::vector<nlohmann::json*> objects_;
};

// Throws nlohmann::json::exception for a value of another type, and what setting one throws.
class JsonReader : public OptionVisitor {
 public:
  explicit JsonReader(const nlohmann::json& json);

 private:
  void row(const Option& option, OptionValue value) override;
  void enter(const char* key) override;
  void leave() override { objects_.pop_back(); }
  std::vector<const nlohmann::json*> objects_;  // null: not there
};

template <class O>
nlohmann::json options_to_json(O options) {
  JsonWriter writer;
  options.visit(writer);
  return std::move(writer.json);
}

template <class O>
void options_from_json(const nlohmann::json& json, O& options) {
  JsonReader reader(json);
  options.visit(reader);
}

}  // namespace firn
