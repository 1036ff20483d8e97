// An option is one row beside the member that holds its value and default: its key in JSON, its flag, help and range,
// whether a run that goes on may change it. JSON, the command line, checks and the docs' table are visitors over rows.
#pragma once
#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace firn {

// Where a source of weights tells an option's value: in its generator, its discriminator, either, or its description.
enum class Told { nowhere, by_g, by_d, by_either, by_description };

struct Option {
  const char* key = "";   // in JSON; empty: other rows keep the value
  const char* flag = "";  // on the command line, as "--kimg-per-tick,--tick"; empty: it is not there
  const char* help = "";
  const char* group = "Configuration";  // heading of --help
  double least = -INFINITY, most = INFINITY;
  bool above_least = false;  // the least itself is not allowed
  bool may_change = false;   // in a run that goes on
  const char* folder = "";   // a run folder is named by the value after this, where it was given
  Told told = Told::nowhere;
  const char* shape = "";  // how the start-up text calls what a source told; empty: it does not

  std::string name() const;  // "--kimg-per-tick", or the key where there is no flag
};

// A value of another type, as text. `set` throws ConfigError.
struct TextValue {
  std::function<std::string()> get;
  std::function<void(const std::string&)> set;
  std::vector<std::string> names = {};  // all that there are; empty: any number
};

// Text that `check` throws ConfigError for where it is none.
inline TextValue checked(std::string& value, void (*check)(const std::string&)) {
  return {.get = [&] { return value; },
          .set =
              [&value, check](const std::string& text) {
                check(text);
                value = text;
              }};
}

using OptionValue = std::variant<bool*, int*, int64_t*, uint64_t*, double*, std::string*, std::vector<int>*,
                                 std::vector<int64_t>*, std::vector<std::string>*, TextValue>;

class OptionVisitor {
 public:
  virtual ~OptionVisitor() = default;
  template <class T>
  void operator()(const Option& option, T& value) {
    row(option, &value);
  }
  void operator()(const Option& option, TextValue value) { row(option, std::move(value)); }
  template <class O>
  void nested(const char* key, O& options) {
    enter(key);
    options.visit(*this);
    leave();
  }

 private:
  virtual void row(const Option& option, OptionValue value) = 0;
  virtual void enter(const char* /*key*/) {}
  virtual void leave() {}
};

// Calls f(option, value) for each row of `options`, whatever it is nested in.
template <class O, class F>
void for_each_option(O& options, F&& f) {
  class Each : public OptionVisitor {
   public:
    explicit Each(F& f) : f_(f) {}

   private:
    void row(const Option& option, OptionValue value) override { f_(option, std::move(value)); }
    F& f_;
  } each(f);
  options.visit(each);
}

[[noreturn]] void throw_no_name(const char* what, const std::string& name, const std::vector<std::string>& names);

// An enumeration by names; `what` is for the error: "no WHAT is called ...".
template <class E>
TextValue choice(E& value, const char* what, const std::vector<std::pair<E, std::string>>& table) {
  std::vector<std::string> names;
  for (const auto& [e, name] : table) names.push_back(name);
  return {.get =
              [&value, table] {
                for (const auto& [e, name] : table)
                  if (e == value) return name;
                return std::string();
              },
          .set =
              [&value, table, what, names](const std::string& given) {
                for (const auto& [e, name] : table)
                  if (name == given) return void(value = e);
                throw_no_name(what, given, names);
              },
          .names = names};
}

// "0-3,8" -> 0 1 2 3 8; ConfigError naming `option`.
std::vector<int64_t> parse_numbers(const std::string& text, const std::string& option);

std::string to_text(const OptionValue& value);  // numbers as briefly as they can be read back; lists with commas
// From what stands behind a flag, once or several times; the last counts, but for lists of names. ConfigError for text
// that is no such value or out of range.
void set_from_text(const Option& option, const OptionValue& value, const std::vector<std::string>& texts);
void check_range(const Option& option, const OptionValue& value);  // ConfigError

}  // namespace firn
