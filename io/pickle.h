// What a Python pickle says, as a tree: nothing is imported, called or set. A pickle that names anything but what the
// caller allows, uses an instruction that state dicts do not need, or is too large is an IoError with the file's name.
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace firn {

struct Pickled {
  // `large`: an integer of more than 64 bits, its bytes in `text`. `global`: "module.name" in `text`. `call`: of the
  // global in `text`, with the arguments `items`. `persistent`: what lies outside of the pickle, named by `items`.
  enum class Kind { none, boolean, integer, large, real, text, tuple, list, dict, global, call, persistent };

  Kind kind = Kind::none;
  int64_t integer = 0;
  double real = 0;
  std::string text{};
  std::vector<const Pickled*> items{};  // of a dict, keys and values by turns

  bool is(Kind k) const { return kind == k; }
  bool calls(std::string_view what) const { return kind == Kind::call && text == what; }
};

struct Pickle {
  std::deque<Pickled> values;  // all that there are: they may contain each other, and themselves
  const Pickled* root = nullptr;
  size_t bytes = 0;  // up to its end
};

// An OrderedDict is a dict, whatever attributes it has; any other `globals` that are called stay calls.
Pickle parse_pickle(std::span<const std::byte> bytes, std::string_view file, std::span<const std::string_view> globals);

}  // namespace firn
