#include <algorithm>
#include <cctype>
#include <charconv>
#include <sstream>

#include "base/error.h"
#include "tests/ptx/module.h"

namespace firn::ptx {
namespace {

// nvcc packs shared variables; a gap behind each makes an overrun visible.
constexpr uint64_t kSharedGap = 32;

uint64_t align_up(uint64_t n, uint64_t to) { return to ? (n + to - 1) / to * to : n; }

std::string_view trim(std::string_view s) {
  const auto first = s.find_first_not_of(" \t\n"), last = s.find_last_not_of(" \t\n");
  return first == s.npos ? std::string_view{} : s.substr(first, last - first + 1);
}

std::vector<std::string_view> words(std::string_view s) {
  std::vector<std::string_view> result;
  while (!(s = trim(s)).empty()) {
    const auto end = std::min(s.find_first_of(" \t\n"), s.size());
    result.push_back(s.substr(0, end));
    s.remove_prefix(end);
  }
  return result;
}

// Splits at commas outside brackets.
std::vector<std::string_view> fields(std::string_view s) {
  std::vector<std::string_view> result;
  int depth = 0;
  size_t begin = 0;
  for (size_t i = 0; i <= s.size(); ++i) {
    if (i < s.size() && std::string_view("([{").find(s[i]) != std::string_view::npos) ++depth;
    if (i < s.size() && std::string_view(")]}").find(s[i]) != std::string_view::npos) --depth;
    if (i < s.size() && (s[i] != ',' || depth > 0)) continue;
    if (const auto field = trim(s.substr(begin, i - begin)); !field.empty()) result.push_back(field);
    begin = i + 1;
  }
  return result;
}

uint64_t integer(std::string_view s) {
  const bool negative = s.starts_with('-');
  if (negative) s.remove_prefix(1);
  const int base = s.starts_with("0x") ? 16 : 10;
  if (base == 16) s.remove_prefix(2);
  while (s.ends_with('U')) s.remove_suffix(1);
  uint64_t v = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), v, base);
  if (error != std::errc{} || end != s.data() + s.size()) throw Error(fmt::format("'{}' is not a number", s));
  return negative ? -v : v;
}

// "b8" .. "f64", "pred" is kept in registers only.
uint64_t bytes_of_type(std::string_view type) {
  const uint64_t bits = integer(type.substr(type.find_first_of("0123456789")));
  return bits / 8;
}

struct Declaration {
  Space space = Space::global;
  uint64_t alignment = 0, element = 0, count = 1;
  bool unsized = false;
  std::string name;
  std::string_view initialiser;
};

// ".shared .align 4 .b8 name[128]", ".param .b64 name", ".global .align 4 .b8 name[3] = {1, 2, 3}"
Declaration declaration(std::string_view text) {
  Declaration d;
  if (const auto equals = text.find('='); equals != text.npos) {
    d.initialiser = trim(text.substr(equals + 1));
    text = trim(text.substr(0, equals));
  }
  std::string_view name;
  const auto all = words(text);
  for (size_t i = 0; i < all.size(); ++i) {
    const std::string_view w = all[i];
    if (w == ".shared") {
      d.space = Space::shared;
    } else if (w == ".local") {
      d.space = Space::local;
    } else if (w == ".param") {
      d.space = Space::param;
    } else if (w == ".const") {
      d.space = Space::constant;
    } else if (w == ".align") {
      d.alignment = integer(all.at(++i));
    } else if (w.starts_with('.') && w.size() > 2 && std::isdigit(static_cast<unsigned char>(w.back()))) {
      d.element = bytes_of_type(w.substr(1));
    } else if (!w.starts_with('.')) {
      name = w;
    }
  }
  if (const auto bracket = name.find('['); bracket != name.npos) {
    const std::string_view count = name.substr(bracket + 1, name.find(']') - bracket - 1);
    d.unsized = count.empty();
    d.count = d.unsized ? 0 : integer(count);
    name = name.substr(0, bracket);
  }
  if (name.empty() || d.element == 0) throw Error(fmt::format("cannot read the declaration '{}'", text));
  if (!d.alignment) d.alignment = d.element;
  d.name = name;
  return d;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text), module_(std::make_unique<Module>()) {}

  std::unique_ptr<Module> run() {
    read_file_names();
    std::string statement;
    std::istringstream lines{std::string(text_)};
    for (std::string line; std::getline(lines, line);) {
      ++line_;
      std::string_view s = std::string_view(line).substr(0, line.find("//"));
      const std::string_view start = trim(s);
      if (start.starts_with(".section")) break;  // debugging information up to the end
      if (start.starts_with(".loc ") || start.starts_with(".loc\t")) {
        place(start);
        continue;
      }
      if (start.starts_with(".version") || start.starts_with(".target") || start.starts_with(".address_size") ||
          start.starts_with(".file"))
        continue;
      for (char c : s) consume(statement, c);
      consume(statement, ' ');
    }
    if (in_function_ || !trim(statement).empty()) fail("the text ends within a function");
    resolve();
    return std::move(module_);
  }

 private:
  [[noreturn]] void fail(std::string_view what) const { throw Error(fmt::format("PTX line {}: {}", line_, what)); }

  // nvcc writes ".file 1 "path"" behind the code that refers to it.
  void read_file_names() {
    std::istringstream lines{std::string(text_)};
    for (std::string line; std::getline(lines, line);) {
      const std::string_view s = trim(line);
      if (!s.starts_with(".file")) continue;
      const auto first = s.find('"'), last = s.rfind('"');
      const std::string_view path = s.substr(first + 1, last - first - 1);
      files_[integer(words(s).at(1))] = path.substr(path.rfind('/') + 1);
    }
  }

  // ".loc 1 12 3, function_name $L__info_string1, inlined_at 1 20 5": the outermost place is the kernel's own line.
  void place(std::string_view s) {
    const auto inlined = s.rfind("inlined_at");
    const auto numbers = words(s.substr(inlined == s.npos ? 4 : inlined + 10));
    module_->places.push_back(fmt::format("{}:{}", files_[integer(numbers.at(0))], numbers.at(1)));
  }

  void consume(std::string& statement, char c) {
    const std::string_view s = trim(statement);
    if (c == '{' && !in_function_ && (s.find(".entry") != s.npos || s.find(".func") != s.npos)) {
      begin_function(s);
      statement.clear();
    } else if (c == '{' && in_function_ && s.empty()) {
      scopes_.push_back({});
    } else if (c == '}' && in_function_ && s.empty()) {
      scopes_.pop_back();
      if (scopes_.size() == 1) end_function();
    } else if (c == ':' && in_function_ && s.starts_with('$')) {
      labels_[function_.name + std::string(s)] = static_cast<int>(module_->code.size());
      statement.clear();
    } else if (c == ';') {
      if (!s.empty()) end_statement(s);
      statement.clear();
    } else {
      statement += c;
    }
  }

  // ".visible .entry name(params) .maxntid 256", ".func (result) name (params)"
  void begin_function(std::string_view header) {
    function_ = {.shared_bytes = shared_.shared_bytes,
                 .packed_shared_bytes = shared_.packed_shared_bytes,
                 .shared_gaps = shared_.shared_gaps};
    function_.is_entry = header.find(".entry") != header.npos;
    function_.first = static_cast<int>(module_->code.size());
    std::string_view rest = trim(header.substr(header.find(function_.is_entry ? ".entry" : ".func") + 6));
    if (!function_.is_entry) rest = trim(header.substr(header.find(".func") + 5));
    std::vector<std::string_view> results;
    if (rest.starts_with('(')) {
      results = fields(rest.substr(1, rest.find(')') - 1));
      rest = trim(rest.substr(rest.find(')') + 1));
    }
    const auto count_behind = [&](std::string_view word, uint64_t otherwise) {  // ".maxntid 16, 16, 1"
      const auto at = header.find(word);
      if (at == header.npos) return otherwise;
      const std::string_view tail = header.substr(at + word.size());
      uint64_t count = 1;
      for (const auto field : fields(tail.substr(0, tail.find('.')))) count *= integer(field);
      return count;
    };
    function_.most_threads = count_behind(".maxntid", 0);
    function_.blocks_at_once = count_behind(".minnctapersm", 1);
    const auto open = rest.find('(');
    function_.name = trim(rest.substr(0, std::min(open, rest.find_first_of(" \t"))));
    scopes_ = {{}, {}};
    in_function_ = true;
    next_register_ = function_.is_entry ? module_->called_registers : most_registers_;
    // A launch fills an entry's parameters from offset 0 of a block of its own; calls use the lane's parameter space.
    uint64_t launch_offset = 0;
    const auto add = [&](std::string_view field) {
      const Declaration d = declaration(field);
      uint64_t& end = function_.is_entry ? launch_offset : module_->parameter_bytes;
      end = align_up(end, d.alignment);
      scopes_.back()[d.name] = address(end + (function_.is_entry ? kLaunchParameters : 0));
      function_.parameter_offsets.push_back(static_cast<int>(end));
      function_.parameter_bytes.push_back(static_cast<int>(d.element * d.count));
      end += d.element * d.count;
    };
    for (const auto field : results) add(field);
    if (open != rest.npos)
      for (const auto field : fields(rest.substr(open + 1, rest.find(')', open) - open - 1))) add(field);
    function_.launch_bytes = static_cast<int>(launch_offset);
  }

  void end_function() {
    function_.last = static_cast<int>(module_->code.size());
    function_.registers = next_register_;
    module_->functions[function_.name] = function_;
    most_registers_ = std::max(most_registers_, next_register_);
    if (!function_.is_entry) module_->called_registers = next_register_;
    function_ = {};
    in_function_ = false;
  }

  void end_statement(std::string_view s) {
    try {
      if (s.starts_with(".reg")) {
        registers(s);
      } else if (s.starts_with(".pragma")) {
        return;
      } else if (s.starts_with('.')) {
        if (s.find(".func") == s.npos && s.find(".entry") == s.npos) variable(declaration(s));
      } else {
        instruction(s);
      }
    } catch (const Error& e) {
      if (std::string_view(e.what()).find("PTX line") != std::string_view::npos) throw;
      fail(e.what());
    }
  }

  // ".reg .b32 %r<20>, %q;"
  void registers(std::string_view s) {
    const auto type = words(s).at(1);
    for (std::string_view name : fields(s.substr(s.find(type) + type.size()))) {
      const auto open = name.find('<');
      const uint64_t n = open == name.npos ? 1 : integer(name.substr(open + 1, name.find('>') - open - 1));
      for (uint64_t i = 0; i < n; ++i) {
        Operand o{.kind = Operand::Kind::reg, .reg = next_register_++};
        scopes_.back()[open == name.npos ? std::string(name) : fmt::format("{}{}", name.substr(0, open), i)] = o;
      }
    }
  }

  static Operand address(uint64_t a) { return {.kind = Operand::Kind::immediate, .value = a}; }

  void variable(const Declaration& d) {
    const uint64_t size = d.element * d.count;
    Operand at;
    switch (d.space) {
      case Space::shared:
        if (d.unsized) {  // placed behind the others at launch
          module_->dynamic_alignment = std::max(module_->dynamic_alignment, d.alignment);
          at = {.kind = Operand::Kind::special, .reg = static_cast<int>(std::size(kSpecialRegisters)) - 1};
        } else {
          Function& owner = in_function_ ? function_ : shared_;  // a block has the module's and its kernel's own
          owner.shared_bytes = align_up(owner.shared_bytes, d.alignment);
          at = address(owner.shared_bytes);
          owner.packed_shared_bytes = align_up(owner.packed_shared_bytes, d.alignment) + size;
          owner.shared_bytes += size;
          owner.shared_gaps.emplace_back(owner.shared_bytes, owner.shared_bytes + kSharedGap);
          owner.shared_bytes += kSharedGap;
        }
        break;
      case Space::local:
        module_->local_bytes = align_up(module_->local_bytes, d.alignment);
        at = address(module_->local_bytes);
        module_->local_bytes += size;
        break;
      case Space::param:
        module_->parameter_bytes = align_up(module_->parameter_bytes, d.alignment);
        at = address(module_->parameter_bytes);
        module_->parameter_bytes += size;
        break;
      default: {
        auto bytes = std::make_shared<std::vector<std::byte>>(size + 16);
        if (!d.initialiser.empty()) {
          size_t i = 0;
          for (const auto v : fields(d.initialiser.substr(1, d.initialiser.size() - 2))) {
            const uint64_t word = integer(v);
            if (i + d.element > size) throw Error("more values than the variable holds");
            std::copy_n(reinterpret_cast<const std::byte*>(&word), d.element, bytes->data() + i);
            i += d.element;
          }
        }
        at = address(reinterpret_cast<uint64_t>(bytes->data()));
        bytes->resize(size);
        module_->variables[d.name] = {d.space, at.value, bytes};
      }
    }
    (in_function_ ? scopes_.back() : globals_)[d.name] = at;
  }

  const Operand* find(const std::string& name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
      if (const auto found = scope->find(name); found != scope->end()) return &found->second;
    const auto found = globals_.find(name);
    return found == globals_.end() ? nullptr : &found->second;
  }

  Operand operand(std::string_view s) const {
    s = trim(s);
    if (s == "_") return {};
    if (s.starts_with('{')) {
      Operand o{.kind = Operand::Kind::list};
      for (const auto item : fields(s.substr(1, s.size() - 2))) o.list.push_back(operand(item));
      return o;
    }
    if (s.starts_with('[')) {
      s = trim(s.substr(1, s.size() - 2));
      if (const auto parts = fields(s); parts.size() == 2) {  // "[map, {x, y}]"
        Operand o = operand(parts[0]);
        o.list = operand(parts[1]).list;
        return o;
      }
      const auto plus = s.find('+');
      Operand o = operand(s.substr(0, plus));
      if (plus != s.npos) o.offset = static_cast<int64_t>(integer(trim(s.substr(plus + 1))));
      return o;
    }
    if (const Operand* o = find(std::string(s))) return *o;
    for (size_t i = 0; i < std::size(kSpecialRegisters); ++i)
      if (s == kSpecialRegisters[i]) return {.kind = Operand::Kind::special, .reg = static_cast<int>(i)};
    if (s.starts_with("0f") || s.starts_with("0d") || s.starts_with("0F") || s.starts_with("0D"))
      return address(integer("0x" + std::string(s.substr(2))));
    if (std::isdigit(static_cast<unsigned char>(s[0])) || s[0] == '-') return address(integer(s));
    throw Error(fmt::format("unknown operand '{}'", s));
  }

  // "@!%p1 add.s32 %r1, %r2, 3"
  void instruction(std::string_view s) {
    Instruction in;
    in.line = line_;
    in.place = static_cast<int>(module_->places.size()) - 1;
    if (s.starts_with('@')) {
      in.guard_negated = s[1] == '!';
      const std::string_view name = words(s)[0].substr(in.guard_negated ? 2 : 1);
      in.guard = operand(name).reg;
      s = trim(s.substr(static_cast<size_t>(name.data() - s.data()) + name.size()));
    }
    in.mnemonic = words(s)[0];
    const auto arguments = fields(s.substr(in.mnemonic.size()));
    if (in.mnemonic.starts_with("bra") && !in.mnemonic.starts_with("brx")) {
      in.flow = Instruction::Flow::branch;
      jumps_.emplace_back(module_->code.size(), function_.name + std::string(arguments.at(0)));
    } else if (in.mnemonic.starts_with("call")) {
      call(in, arguments);
    } else {
      for (std::string_view field : arguments) {
        const auto bar = field.find('|');  // "shfl d|p"
        const bool pair = bar != field.npos && field[0] == '%';
        in.operands.push_back(operand(field.substr(0, pair ? bar : field.npos)));
        if (pair) in.operands.back().list.push_back(operand(field.substr(bar + 1)));
      }
      bind(in);
    }
    module_->code.push_back(std::move(in));
  }

  // "call.uni (results), name, (arguments)"; bound once all functions are known
  void call(Instruction& in, const std::vector<std::string_view>& arguments) {
    in.flow = Instruction::Flow::call;
    size_t next = 0;
    const auto inner = [&](std::string_view s) { return fields(s.substr(1, s.size() - 2)); };
    std::vector<std::string_view> values;
    if (arguments.at(0).starts_with('(')) values = inner(arguments[next++]);
    in.results = values.size();
    calls_.emplace_back(module_->code.size(), arguments.at(next++));
    if (next < arguments.size())
      for (const auto v : inner(arguments[next])) values.push_back(v);
    for (const auto v : values) in.arguments.emplace_back(static_cast<int>(operand(v).value), 0);
  }

  void resolve() {
    for (const auto& [at, label] : jumps_) {
      const auto found = labels_.find(label);
      if (found == labels_.end()) throw Error(fmt::format("PTX: no label {}", label));
      module_->code[at].target = found->second;
    }
    for (const auto& [at, name] : calls_) {
      const auto found = module_->functions.find(std::string(name));
      if (found == module_->functions.end()) throw Error(fmt::format("PTX: no function {}", name));
      Instruction& in = module_->code[at];
      in.target = found->second.first;
      in.argument_bytes = found->second.parameter_bytes;
      if (in.arguments.size() != in.argument_bytes.size())
        throw Error(fmt::format("PTX line {}: {} takes {} parameters", in.line, name, in.argument_bytes.size()));
      for (size_t i = 0; i < in.arguments.size(); ++i) in.arguments[i].second = found->second.parameter_offsets[i];
    }
  }

  std::string_view text_;
  std::unique_ptr<Module> module_;
  int line_ = 0;
  bool in_function_ = false;
  int next_register_ = 0, most_registers_ = 0;  // entries share their registers' numbers; no two active functions do
  Function function_, shared_;                  // shared_: what the module's shared variables take
  std::map<uint64_t, std::string> files_;
  std::map<std::string, Operand> globals_;
  std::vector<std::map<std::string, Operand>> scopes_;
  std::map<std::string, int> labels_;
  std::vector<std::pair<size_t, std::string>> jumps_, calls_;
};

}  // namespace

uint64_t Function::thread_registers() const {
  const uint64_t threads = (most_threads + 31) / 32 * 32 * blocks_at_once;
  return threads == 0 ? 256 : std::min<uint64_t>(256, kRegisterFile / threads / 8 * 8);
}

std::unique_ptr<Module> parse(std::string_view text) { return Parser(text).run(); }

}  // namespace firn::ptx
