// Options as rows: JSON, text and ranges are all that is ever asked of them.
#include "base/option.h"

#include <gtest/gtest.h>

#include "base/option_json.h"
#include "tests/io/io_support.h"

namespace firn {
namespace {

enum class Colour { red, green };

struct Inner {
  std::vector<int> layers = {1};
  std::vector<std::string> names;
  void visit(OptionVisitor& v) {
    v({.key = "layers", .flag = "--layers", .least = 0, .most = 9}, layers);
    v({.key = "names", .flag = "--name"}, names);
  }
};

struct Options {
  double rate = 0.1;
  int count = 3;
  int64_t large = 1;
  uint64_t seed = 0;
  bool fast = false;
  std::string title = "none";
  Colour colour = Colour::red;
  Inner inner;

  void visit(OptionVisitor& v) {
    v({.key = "rate", .flag = "--rate,-r", .least = 0, .most = 1e9, .above_least = true}, rate);
    v({.key = "count", .flag = "--count", .least = 1, .most = 100}, count);
    v({.key = "large", .least = -5}, large);
    v({.key = "seed", .flag = "--seed"}, seed);
    v({.key = "fast", .flag = "--fast"}, fast);
    v({.key = "title", .flag = "--title"}, title);
    v({.key = "colour", .flag = "--colour"},
      choice(colour, "colour", {{Colour::red, "red"}, {Colour::green, "green"}}));
    v({.flag = "--twice"}, TextValue{.get = [this] { return std::to_string(2 * count); },
                                     .set = [this](auto& text) { count = std::stoi(text) / 2; }});
    v.nested("inner", inner);
  }
};

void give(Options& options, const std::string& name, const std::vector<std::string>& texts) {
  for_each_option(options, [&](const Option& option, const OptionValue& value) {
    if (option.name() == name) set_from_text(option, value, texts);
  });
}

std::string refusal(const std::string& name, const std::string& text) {
  Options options;
  return message_of<ConfigError>([&] { give(options, name, {text}); });
}

void check(Options options) {
  for_each_option(options, [](const Option& option, const OptionValue& value) { check_range(option, value); });
}

TEST(Options, BecomeJsonByKeyAndComeBack) {
  Options o{.rate = 0.25, .count = 7, .large = -1, .seed = uint64_t{1} << 63, .fast = true, .title = "a b"};
  o.colour = Colour::green;
  o.inner = {.layers = {3, 1}, .names = {"x", "y"}};
  const nlohmann::json json = options_to_json(o);
  EXPECT_EQ(json, nlohmann::json::parse(R"({"rate": 0.25, "count": 7, "large": -1, "seed": 9223372036854775808,
      "fast": true, "title": "a b", "colour": "green", "inner": {"layers": [3, 1], "names": ["x", "y"]}})"));
  Options back;
  options_from_json(nlohmann::json::parse(json.dump()), back);
  EXPECT_EQ(options_to_json(back), json);
}

TEST(Options, KeepWhatJsonDoesNotSay) {
  Options o{.count = 5};
  options_from_json(nlohmann::json::parse(R"({"rate": 2, "unknown": {}, "inner": {"names": []}})"), o);
  EXPECT_EQ(std::tuple(o.rate, o.count, o.title), std::tuple(2.0, 5, "none"));
  EXPECT_EQ(o.inner.layers, std::vector{1});
}

TEST(Options, JsonOfAnotherTypeThrows) {
  for (const char* text :
       {R"({"count": "3"})", R"({"count": 2.5})", R"({"count": true})", R"({"count": 4294967298})", R"({"seed": -1})",
        R"({"fast": 1})", R"({"title": 3})", R"({"inner": 4})", R"({"inner": {"layers": 1}})",
        R"({"inner": {"layers": [2.5]}})", R"({"inner": {"layers": [4294967298]}})", "[]"}) {
    Options o;
    EXPECT_THROW(options_from_json(nlohmann::json::parse(text), o), nlohmann::json::exception) << text;
  }
  Options o;
  EXPECT_MENTIONS(message_of<ConfigError>([&] {
                    options_from_json({{"colour", "blue"}}, o);
                  }),
                  "no colour is called 'blue'; there are red, green");
}

TEST(Options, AreSetByTextWhoseLastCounts) {
  Options o;
  give(o, "--rate", {"1", "0.5"});
  give(o, "--seed", {"18446744073709551615"});
  give(o, "--fast", {"true"});
  give(o, "--colour", {"green"});
  give(o, "--layers", {"0-2,5"});
  give(o, "--name", {"a", "b"});
  EXPECT_EQ(std::tuple(o.rate, o.seed, o.fast, o.colour), std::tuple(0.5, ~uint64_t{0}, true, Colour::green));
  EXPECT_EQ(o.inner.layers, (std::vector{0, 1, 2, 5}));
  EXPECT_EQ(o.inner.names, (std::vector<std::string>{"a", "b"}));
  give(o, "--twice", {"8"});
  EXPECT_EQ(o.count, 4);
  for (const char* no : {"false", "0", "no", "off"}) {
    o.fast = true;
    give(o, "--fast", {no});
    EXPECT_FALSE(o.fast) << no;
  }
}

TEST(Options, TextThatIsNoValueIsToldWithTheRange) {
  EXPECT_EQ(refusal("--count", "x"), "--count: expected a whole number from 1 to 100, not 'x'");
  EXPECT_EQ(refusal("--count", "0"), "--count: expected a whole number from 1 to 100, not '0'");
  EXPECT_EQ(refusal("--count", "3.5"), "--count: expected a whole number from 1 to 100, not '3.5'");
  EXPECT_EQ(refusal("--fast", "abc"), "--fast abc: expected yes or no");
  EXPECT_EQ(refusal("--count", ""), "--count: expected a whole number from 1 to 100, not ''");
  EXPECT_EQ(refusal("--rate", "0"), "--rate: expected a number above 0 and up to 1000000000, not '0'");
  EXPECT_EQ(refusal("--rate", "nan"), "--rate: expected a number above 0 and up to 1000000000, not 'nan'");
  EXPECT_MENTIONS(refusal("--seed", "-1"), "--seed: expected a whole number");
  EXPECT_MENTIONS(refusal("large", "-6"), "large: expected a whole number from -5 up");
  EXPECT_MENTIONS(refusal("--layers", "8-10"), "--layers 10: expected whole numbers from 0 to 9");
  EXPECT_MENTIONS(refusal("--layers", "3-"), "--layers 3-: expected numbers and ranges");
  EXPECT_MENTIONS(refusal("--colour", "blue"), "there are red, green");
}

TEST(Options, RangesHoldWhereverAValueCameFrom) {
  EXPECT_NO_THROW(check({}));
  EXPECT_EQ(message_of<ConfigError>([] { check({.count = 101}); }), "--count 101: expected a number from 1 to 100");
  EXPECT_EQ(message_of<ConfigError>([] { check({.rate = INFINITY}); }),
            "--rate inf: expected a number above 0 and up to 1000000000");
  EXPECT_EQ(message_of<ConfigError>([] { check({.large = -6}); }), "large -6: expected a number from -5 up");
}

TEST(Options, TextReadsBack) {
  Options o{.rate = 1.0 / 3, .count = 9, .seed = ~uint64_t{0}, .fast = true, .colour = Colour::green};
  o.inner.layers = {4, 2};
  Options back;
  for_each_option(o, [&](const Option& option, const OptionValue& value) {
    if (*option.flag && option.name() != "--name") give(back, option.name(), {to_text(value)});
  });
  EXPECT_EQ(options_to_json(back), options_to_json(o));
}

}  // namespace
}  // namespace firn
