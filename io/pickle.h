// What a Python pickle (protocols 0 to 5) says, as a tree: nothing is imported, called or set. A pickle that names
// anything but what the caller allows, refers to other processes' memory or registers, or is too large is an IoError
// with the file's name.
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
  // global in `text`, with the arguments `items` and then the attributes `state`: an object of a class is one, too.
  // `persistent`: what lies outside of the pickle, named by `items`. Sets are lists.
  enum class Kind { none, boolean, integer, large, real, text, bytes, tuple, list, dict, global, call, persistent };

  Kind kind = Kind::none;
  union {
    int64_t integer = 0;
    double real;
  };
  std::string_view text{};              // of the pickle's bytes, or of what it owns
  std::vector<const Pickled*> items{};  // of a dict, keys and values by turns
  const Pickled* state = nullptr;       // null: none

  bool is(Kind k) const { return kind == k; }
  bool calls(std::string_view what) const { return kind == Kind::call && text == what; }
  const Pickled* find(std::string_view key) const;  // of a dict; null: it has none such
};

struct Pickle {
  std::deque<Pickled> values;     // all that there are: they may contain each other, and themselves
  std::deque<std::string> owned;  // texts that do not stand in the bytes as they are
  const Pickled* root = nullptr;
  size_t bytes = 0;  // up to its end
};

// `globals`: names of modules' members, or with a star at the end the beginnings of such names. OrderedDict, EasyDict
// and their like are dicts, whatever attributes they have; any other `globals` that are called stay calls. `bytes` must
// outlive the tree.
Pickle parse_pickle(std::span<const std::byte> bytes, std::string_view file, std::span<const std::string_view> globals);

}  // namespace firn
