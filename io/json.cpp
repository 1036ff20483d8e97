#include "io/json.h"

#include <string>
#include <unordered_set>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace firn {

namespace {

using Json = nlohmann::json;

// Goes through the text ahead of the parser, whose own callback takes time by the square of an object's members.
class Watch : public nlohmann::json_sax<Json> {
 public:
  Watch(std::string_view name, JsonLimits limits) : name_(name), limits_(limits) {}

  bool null() override { return count(); }
  bool boolean(bool) override { return count(); }
  bool number_integer(number_integer_t) override { return count(); }
  bool number_unsigned(number_unsigned_t) override { return count(); }
  bool number_float(number_float_t, const string_t&) override { return count(); }
  bool string(string_t&) override { return count(); }
  bool binary(binary_t&) override { return count(); }
  bool start_object(size_t) override { return open(); }
  bool end_object() override { return close(); }
  bool start_array(size_t) override { return open(); }
  bool end_array() override { return close(); }
  bool key(string_t& key) override {
    if (!keys_.back().insert(key).second) throw IoError(fmt::format("{}: \"{}\" appears twice", name_, printable(key)));
    return count();
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;  // the parser says it
  }

 private:
  bool count() {
    if (++values_ > limits_.values) throw IoError(fmt::format("{}: more than {} JSON values", name_, limits_.values));
    return true;
  }
  bool open() {
    if (int64_t(keys_.size()) >= limits_.depth)
      throw IoError(fmt::format("{}: JSON nested deeper than {}", name_, limits_.depth));
    keys_.emplace_back();
    return count();
  }
  bool close() { return keys_.pop_back(), true; }

  std::string_view name_;
  JsonLimits limits_;
  std::vector<std::unordered_set<std::string>> keys_;  // of the open objects
  int64_t values_ = 0;
};

}  // namespace

nlohmann::json parse_json(std::string_view text, std::string_view name, JsonLimits limits) {
  Watch watch(name, limits);
  try {
    Json::sax_parse(text.begin(), text.end(), &watch);
    return Json::parse(text.begin(), text.end());
  } catch (const Json::exception& e) {
    throw IoError(fmt::format("{}: invalid JSON: {}", name, printable(e.what())));
  }
}

}  // namespace firn
