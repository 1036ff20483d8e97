#include "io/pickle.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <unordered_map>

#include "base/error.h"
#include "base/text.h"

namespace firn {
namespace {

using Kind = Pickled::Kind;

constexpr size_t most_values = 400'000;  // a network has some dozens a tensor
constexpr std::string_view ordered_dict = "collections.OrderedDict";

enum Instruction : uint8_t {
  mark = '(',
  stop = '.',
  pop = '0',
  pop_mark = '1',
  duplicate = '2',
  binint = 'J',
  binint1 = 'K',
  binint2 = 'M',
  none = 'N',
  persistent_id = 'Q',
  reduce = 'R',
  binstring = 'T',
  short_binstring = 'U',
  binunicode = 'X',
  append = 'a',
  build = 'b',
  global = 'c',
  append_many = 'e',
  binfloat = 'G',
  binget = 'h',
  long_binget = 'j',
  binput = 'q',
  long_binput = 'r',
  setitem = 's',
  tuple = 't',
  setitems = 'u',
  empty_list = ']',
  empty_tuple = ')',
  empty_dict = '}',
  protocol = 0x80,
  newobj = 0x81,
  tuple1 = 0x85,
  tuple2 = 0x86,
  tuple3 = 0x87,
  newtrue = 0x88,
  newfalse = 0x89,
  long1 = 0x8a,
  short_binunicode = 0x8c,
  stack_global = 0x93,
  memoize = 0x94,
  frame = 0x95,
};

class Machine {
 public:
  Machine(std::span<const std::byte> bytes, std::string_view file, std::span<const std::string_view> globals)
      : bytes_(bytes), file_(file), globals_(globals) {}

  Pickle run() {
    while (!step()) {
    }
    pickle_.root = pop_value();
    pickle_.bytes = at_;
    return std::move(pickle_);
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    throw IoError(fmt::format("{}: byte {} of its pickle {}", file_, at_, what));
  }

  std::string_view take(size_t count) {
    if (count > bytes_.size() - at_) fail("is behind its end: the file is truncated or no pickle");
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + at_, count);
    at_ += count;
    return text;
  }

  uint64_t number(size_t size) {
    uint64_t v = 0;
    std::memcpy(&v, take(size).data(), size);
    return v;
  }

  std::string_view line() {
    const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + at_, bytes_.size() - at_);
    const size_t end = rest.find('\n');
    if (end == rest.npos) fail("begins a name without an end");
    return take(end + 1).substr(0, end);
  }

  Pickled& push(Kind kind) {
    if (pickle_.values.size() >= most_values) fail(fmt::format("makes more than {} values", most_values));
    Pickled& made = pickle_.values.emplace_back(Pickled{.kind = kind});
    stack_.push_back(&made);
    return made;
  }
  void push_text(std::string_view text) { push(Kind::text).text = text; }
  void push_integer(int64_t v) { push(Kind::integer).integer = v; }

  // What lies above the last mark cannot be popped by what does not take the mark away.
  Pickled* pop_value() {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) fail("takes what is not there");
    Pickled* const top = stack_.back();
    stack_.pop_back();
    return top;
  }
  Pickled& top() {
    Pickled* const value = pop_value();
    stack_.push_back(value);
    return *value;
  }

  std::vector<const Pickled*> pop_to_mark() {
    if (marks_.empty()) fail("takes what is behind a mark, where there is none");
    const auto first = stack_.begin() + ptrdiff_t(marks_.back());
    std::vector<const Pickled*> items(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return items;
  }

  void make_tuple(size_t count) {
    std::vector<const Pickled*> items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop_value();
    push(Kind::tuple).items = std::move(items);
  }

  void add(Kind kind, const std::vector<const Pickled*>& items) {
    Pickled& to = top();
    if (!to.is(kind) || (kind == Kind::dict && items.size() % 2)) fail("fills what is no list or dict");
    to.items.insert(to.items.end(), items.begin(), items.end());
  }
  void add(Kind kind, size_t count) {
    std::vector<const Pickled*> items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop_value();
    add(kind, items);
  }

  void push_global(std::string_view module, std::string_view name) {
    const std::string whole = fmt::format("{}.{}", module, name);
    if (std::ranges::find(globals_, whole) == globals_.end())
      fail(fmt::format("wants {}, which weights do not need; nothing of it was run", printable(whole, 80)));
    push(Kind::global).text = whole;
  }

  void call() {
    const Pickled *const arguments = pop_value(), *const callee = pop_value();
    if (!callee->is(Kind::global) || !arguments->is(Kind::tuple)) fail("calls what cannot be called");
    if (callee->text != ordered_dict) {
      Pickled& made = push(Kind::call);
      made.text = callee->text;
      made.items = arguments->items;
      return;
    }
    Pickled& dict = push(Kind::dict);
    if (arguments->items.empty()) return;
    if (arguments->items.size() > 1 || !arguments->items[0]->is(Kind::list)) fail("makes a dict of what is no list");
    for (const Pickled* pair : arguments->items[0]->items) {
      if (pair->items.size() != 2) fail("makes a dict of what are no pairs");
      dict.items.insert(dict.items.end(), pair->items.begin(), pair->items.end());
    }
  }

  void put(uint64_t place) {
    if (memo_.size() >= most_values) fail(fmt::format("remembers more than {} values", most_values));
    memo_[place] = &top();
  }
  void get(uint64_t place) {
    const auto found = memo_.find(place);
    if (found == memo_.end()) fail("recalls what was never there");
    stack_.push_back(found->second);
  }

  bool step();

  std::span<const std::byte> bytes_;
  std::string_view file_;
  std::span<const std::string_view> globals_;
  size_t at_ = 0;
  Pickle pickle_;
  std::vector<Pickled*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, Pickled*> memo_;
};

// Returns true at the end.
bool Machine::step() {
  const auto instruction = uint8_t(number(1));
  switch (instruction) {
    case protocol:
      if (const uint64_t version = number(1); version < 2 || version > 5)
        fail(fmt::format("has pickle protocol {}", version));
      break;
    case frame:
      take(8);
      break;
    case mark:
      marks_.push_back(stack_.size());
      break;
    case stop:
      return true;
    case pop:
      pop_value();
      break;
    case pop_mark:
      pop_to_mark();
      break;
    case duplicate:
      stack_.push_back(&top());
      break;
    case none:
      push(Kind::none);
      break;
    case newtrue:
    case newfalse:
      push(Kind::boolean).integer = instruction == newtrue;
      break;
    case binint:
      push_integer(int32_t(number(4)));
      break;
    case binint1:
      push_integer(int64_t(number(1)));
      break;
    case binint2:
      push_integer(int64_t(number(2)));
      break;
    case long1: {
      const size_t size = number(1);
      const std::string_view digits = take(size);
      if (size > 8) {
        push(Kind::large).text = digits;
      } else {
        int64_t v = size && int8_t(digits.back()) < 0 ? -1 : 0;
        std::memcpy(&v, digits.data(), size);
        push_integer(v);
      }
      break;
    }
    case binfloat: {
      uint64_t bits = 0;
      for (const char c : take(8)) bits = bits << 8 | uint8_t(c);
      push(Kind::real).real = std::bit_cast<double>(bits);
      break;
    }
    case short_binstring:
    case short_binunicode:
      push_text(take(number(1)));
      break;
    case binstring:
    case binunicode:
      push_text(take(number(4)));
      break;
    case empty_tuple:
      push(Kind::tuple);
      break;
    case empty_list:
      push(Kind::list);
      break;
    case empty_dict:
      push(Kind::dict);
      break;
    case tuple1:
    case tuple2:
    case tuple3:
      make_tuple(instruction - tuple1 + 1u);
      break;
    case tuple: {
      auto items = pop_to_mark();
      push(Kind::tuple).items = std::move(items);
      break;
    }
    case append:
      add(Kind::list, 1);
      break;
    case append_many:
      add(Kind::list, pop_to_mark());
      break;
    case setitem:
      add(Kind::dict, 2);
      break;
    case setitems:
      add(Kind::dict, pop_to_mark());
      break;
    case binput:
      put(number(1));
      break;
    case long_binput:
      put(number(4));
      break;
    case memoize:
      put(memo_.size());
      break;
    case binget:
      get(number(1));
      break;
    case long_binget:
      get(number(4));
      break;
    case global: {
      const std::string_view module = line();
      push_global(module, line());
      break;
    }
    case stack_global: {
      const Pickled *const name = pop_value(), *const module = pop_value();
      if (!name->is(Kind::text) || !module->is(Kind::text)) fail("wants what has no name");
      push_global(module->text, name->text);
      break;
    }
    case newobj:
    case reduce:
      call();
      break;
    case build:
      pop_value();
      if (!top().is(Kind::dict)) fail("sets attributes of what is no OrderedDict");
      break;
    case persistent_id: {
      const Pickled* const id = pop_value();
      if (!id->is(Kind::tuple)) fail("names something outside of it by what is no tuple");
      push(Kind::persistent).items = id->items;
      break;
    }
    default:
      fail(fmt::format("is instruction {:#04x}, which weights do not need", instruction));
  }
  return false;
}

}  // namespace

Pickle parse_pickle(std::span<const std::byte> bytes, std::string_view file,
                    std::span<const std::string_view> globals) {
  return Machine(bytes, file, globals).run();
}

}  // namespace firn
