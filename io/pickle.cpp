#include "io/pickle.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "base/text.h"
#include "io/pickle_instructions.h"
#include "io/pickle_text.h"

namespace firn {
namespace {

using namespace pickle;

using Kind = Pickled::Kind;

constexpr size_t most_values = 400'000;   // a network has some dozens a tensor
constexpr size_t most_items = 1'000'000;  // of all tuples, lists and dicts: one list may be in many
constexpr std::string_view ordered_dict = "collections.OrderedDict";
constexpr std::string_view dicts[] = {ordered_dict,           "dnnlib.EasyDict",
                                      "dnnlib.util.EasyDict", "collections.defaultdict",
                                      "builtins.dict",        "__builtin__.dict"};
constexpr std::string_view sets[] = {"builtins.set", "builtins.frozenset", "__builtin__.set", "__builtin__.frozenset"};
// How protocols 0 and 1 make an object: of a class, a base and the base's value.
constexpr std::string_view makers[] = {"copyreg._reconstructor", "copy_reg._reconstructor"};
constexpr std::string_view encode = "_codecs.encode";  // how bytes are written where there were none yet

bool any_of(std::span<const std::string_view> names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

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
    Pickled& made = pickle_.values.emplace_back();
    made.kind = kind;
    lay(&made);
    return made;
  }
  void lay(Pickled* value) {
    if (stack_.size() >= most_items) fail(fmt::format("lays more than {} values on its stack", most_items));
    stack_.push_back(value);
  }
  void push_text(std::string_view text, Kind kind = Kind::text) { push(kind).text = text; }
  void push_integer(int64_t v) { push(Kind::integer).integer = v; }
  void push_long(std::string_view digits) {  // little-endian, in two's complement
    if (digits.size() > 8) return push_text(digits, Kind::large);
    int64_t v = !digits.empty() && int8_t(digits.back()) < 0 ? -1 : 0;
    std::memcpy(&v, digits.data(), digits.size());
    push_integer(v);
  }
  std::string_view own(std::string text) { return pickle_.owned.emplace_back(std::move(text)); }

  // As protocol 0 writes them.
  void push_written(std::string_view text) {
    const std::optional<WrittenInteger> v = written_integer(text);
    if (!v) fail("writes an integer that is none, or too large");
    push(v->boolean ? Kind::boolean : Kind::integer).integer = v->value;
  }
  void push_written_real(std::string_view text) {
    const std::optional<double> v = written_real(text);
    if (!v) fail("writes a real number that is none");
    push(Kind::real).real = *v;
  }
  void push_written_text(std::optional<std::string> text) {
    if (!text) fail("writes a text without quotes, or with an escape that is none");
    push_text(own(std::move(*text)));
  }

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
    spend(items.size());
    return items;
  }
  void spend(size_t items) {
    if (items > most_items - spent_) fail(fmt::format("holds more than {} items", most_items));
    spent_ += items;
  }

  void make_tuple(size_t count) {
    std::vector<const Pickled*> items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop_value();
    spend(count);
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
    spend(count);
    add(kind, items);
  }

  std::string_view global_name(std::string_view module, std::string_view name) {
    constexpr size_t longest = 256;
    if (module.size() + name.size() > longest) fail(fmt::format("wants a name of more than {} bytes", longest));
    const std::string whole = fmt::format("{}.{}", module, name);
    if (const auto known = wanted_.find(whole); known != wanted_.end()) return *known;
    const auto allows = [&](std::string_view g) {
      return g.ends_with('*') ? std::string_view(whole).starts_with(g.substr(0, g.size() - 1)) : whole == g;
    };
    if (std::ranges::none_of(globals_, allows))
      fail(fmt::format("wants {}, which weights do not need; nothing of it was run", printable(whole, 80)));
    return *wanted_.insert(own(whole)).first;
  }
  void push_global(std::string_view module, std::string_view name) {
    const std::string_view whole = global_name(module, name);
    push_text(whole, Kind::global);
  }

  void call() {
    const Pickled *const arguments = pop_value(), *const callee = pop_value();
    if (!callee->is(Kind::global) || !arguments->is(Kind::tuple)) fail("calls what cannot be called");
    call(callee->text, arguments->items);
  }
  void call(std::string_view callee, const std::vector<const Pickled*>& arguments) {
    spend(arguments.size());
    if (any_of(makers, callee) && arguments.size() == 3 && arguments[0]->is(Kind::global)) {
      call(arguments[0]->text, {});
      if (const Pickled& base = *arguments[2]; base.is(Kind::dict) && top().is(Kind::dict)) {
        spend(base.items.size());
        top().items = base.items;
      }
      return;
    }
    if (callee == encode && !arguments.empty() && arguments[0]->is(Kind::text)) {
      push_text(latin1(arguments[0]->text), Kind::bytes);
    } else if (any_of(dicts, callee)) {
      make_dict(callee == ordered_dict ? arguments : std::vector<const Pickled*>{});
    } else if (any_of(sets, callee)) {
      if (!arguments.empty() && !arguments[0]->is(Kind::list)) fail("makes a set of what is no list");
      spend(arguments.empty() ? 0 : arguments[0]->items.size());
      push(Kind::list).items = arguments.empty() ? std::vector<const Pickled*>{} : arguments[0]->items;
    } else {
      Pickled& made = push(Kind::call);
      made.text = callee;
      made.items = arguments;
    }
  }
  void make_dict(const std::vector<const Pickled*>& arguments) {
    Pickled& dict = push(Kind::dict);
    if (arguments.empty()) return;
    if (arguments.size() > 1 || !arguments[0]->is(Kind::list)) fail("makes a dict of what is no list");
    spend(2 * arguments[0]->items.size());
    for (const Pickled* pair : arguments[0]->items) {
      if (pair->items.size() != 2) fail("makes a dict of what are no pairs");
      dict.items.insert(dict.items.end(), pair->items.begin(), pair->items.end());
    }
  }
  std::string_view latin1(std::string_view text) {
    std::optional<std::string> bytes = bytes_of_letters(text);
    if (!bytes) fail("writes bytes that are none");
    if (bytes->size() > bytes_.size() - encoded_) fail("writes its bytes more than once");
    encoded_ += bytes->size();
    return own(std::move(*bytes));
  }

  uint64_t place(std::string_view digits) const {
    const std::optional<WrittenInteger> v = written_integer(digits);
    if (!v || v->value < 0) fail("remembers at a place that is none");
    return uint64_t(v->value);
  }
  void put(uint64_t place) {
    if (memo_.size() >= most_values) fail(fmt::format("remembers more than {} values", most_values));
    memo_[place] = &top();
  }
  void get(uint64_t place) {
    const auto found = memo_.find(place);
    if (found == memo_.end()) fail("recalls what was never there");
    lay(found->second);
  }

  bool step();

  std::span<const std::byte> bytes_;
  std::string_view file_;
  std::span<const std::string_view> globals_;
  size_t at_ = 0, spent_ = 0, encoded_ = 0;
  Pickle pickle_;
  std::vector<Pickled*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, Pickled*> memo_;
  std::set<std::string_view> wanted_;  // globals
};

// Returns true at the end.
bool Machine::step() {
  const auto instruction = uint8_t(number(1));
  switch (instruction) {
    case protocol:
      if (const uint64_t version = number(1); version > 5) fail(fmt::format("has pickle protocol {}", version));
      break;
    case frame:
      take(8);
      break;
    case mark:
      if (marks_.size() >= most_items) fail(fmt::format("sets more than {} marks", most_items));
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
      lay(&top());
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
    case long1:
      push_long(take(number(1)));
      break;
    case long4:
      push_long(take(number(4)));
      break;
    case text_int:
    case text_long:
      push_written(line());
      break;
    case text_float:
      push_written_real(line());
      break;
    case text_string:
      push_written_text(unquoted(line()));
      break;
    case text_unicode:
      push_written_text(unescaped(line()));
      break;
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
    case binunicode8:
      push_text(take(number(8)));
      break;
    case short_binbytes:
      push_text(take(number(1)), Kind::bytes);
      break;
    case binbytes:
      push_text(take(number(4)), Kind::bytes);
      break;
    case binbytes8:
    case bytearray8:
      push_text(take(number(8)), Kind::bytes);
      break;
    case empty_tuple:
      push(Kind::tuple);
      break;
    case empty_list:
    case empty_set:
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
    case tuple:
    case list_of_items:
    case frozen_set: {
      auto items = pop_to_mark();
      push(instruction == tuple ? Kind::tuple : Kind::list).items = std::move(items);
      break;
    }
    case dict_of_items: {
      const auto items = pop_to_mark();
      push(Kind::dict);
      add(Kind::dict, items);
      break;
    }
    case append:
      add(Kind::list, 1);
      break;
    case append_many:
    case add_items:
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
    case text_put:
      put(place(line()));
      break;
    case text_get:
      get(place(line()));
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
    case newobj_ex:
      if (!pop_value()->is(Kind::dict)) fail("calls with names that are no dict");
      [[fallthrough]];
    case newobj:
    case reduce:
      call();
      break;
    case instance: {
      const std::string_view module = line(), name = global_name(module, line());
      const auto arguments = pop_to_mark();
      call(name, arguments);
      break;
    }
    case object: {
      auto items = pop_to_mark();
      if (items.empty() || !items[0]->is(Kind::global)) fail("calls what cannot be called");
      const std::string_view name = items[0]->text;
      items.erase(items.begin());
      call(name, items);
      break;
    }
    case build: {
      const Pickled* const state = pop_value();
      if (Pickled& of = top(); of.is(Kind::call))
        of.state = state;
      else if (!of.is(Kind::dict))
        fail("sets attributes of what is no object");
      break;
    }
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

const Pickled* Pickled::find(std::string_view key) const {
  for (size_t i = 0; i + 1 < items.size(); i += 2)
    if (items[i]->is(Kind::text) && items[i]->text == key) return items[i + 1];
  return nullptr;
}

Pickle parse_pickle(std::span<const std::byte> bytes, std::string_view file,
                    std::span<const std::string_view> globals) {
  return Machine(bytes, file, globals).run();
}

}  // namespace firn
