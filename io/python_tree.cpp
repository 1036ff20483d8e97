#include "io/python_tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/text.h"

namespace firn {
namespace {

using Kind = Pickled::Kind;

constexpr size_t most_axes = 16, deepest = 48, most_entries = 100'000;
constexpr size_t longest_name = 512, longest_value = 1 << 14, most_text = 8 << 20;  // of names and values together

struct Type {
  std::string_view storage, numpy, dtype;
  int64_t size;  // of an element in the file
};
constexpr Type types[]{{"torch.FloatStorage", "f4", "F32", 4}, {"torch.DoubleStorage", "f8", "F64", 8},
                       {"torch.HalfStorage", "f2", "F16", 2},  {"torch.BFloat16Storage", "", "BF16", 2},
                       {"torch.LongStorage", "i8", "I64", 8},  {"torch.IntStorage", "i4", "I32", 4},
                       {"torch.ByteStorage", "u1", "U8", 1},   {"torch.BoolStorage", "b1", "U8", 1}};
constexpr std::string_view rebuild_tensor = "torch._utils._rebuild_tensor",
                           rebuild_tensor_v2 = "torch._utils._rebuild_tensor_v2",
                           rebuild_parameter = "torch._utils._rebuild_parameter",
                           rebuild_from_type = "torch._tensor._rebuild_from_type_v2",
                           load_from_bytes = "torch.storage._load_from_bytes",
                           persistent_object = "torch_utils.persistence._reconstruct_persistent_obj",
                           tf_network = "dnnlib.tflib.network.Network", numpy_dtype = "numpy.dtype";
constexpr std::string_view reconstruct[] = {"numpy.core.multiarray._reconstruct",
                                            "numpy._core.multiarray._reconstruct"},
                           scalar[] = {"numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"},
                           from_buffer[] = {"numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"};

bool calls_any(const Pickled& v, std::span<const std::string_view> names) {
  return v.is(Kind::call) && std::ranges::find(names, v.text) != names.end();
}

std::string quoted(std::string_view name) { return fmt::format("\"{}\"", printable(name, 80)); }

class Namer {
 public:
  Namer(const Pickle& pickle, std::string_view file) : pickle_(pickle), file_(file) {}

  PythonTree run() {
    for (const Pickled& value : pickle_.values)
      if (const auto s = outside(value); s && tree_.storages.emplace(s->key, *s).first->second != *s)
        fail(fmt::format("storage {} is of two kinds", quoted(s->key)));
    visit(*pickle_.root, "", 0);
    return std::move(tree_);
  }

 private:
  [[noreturn]] void fail(std::string_view what) const { throw IoError(fmt::format("{}: {}", file_, what)); }

  std::string join(const std::string& prefix, std::string_view name, char between = '.') const {
    if (prefix.size() + name.size() > longest_name) fail(fmt::format("has a name of more than {} bytes", longest_name));
    return prefix.empty() ? std::string(name) : fmt::format("{}{}{}", prefix, between, name);
  }
  // What was looked at, also where nothing comes of it.
  void count(size_t entries, size_t depth) {
    if (depth > deepest) fail("holds values within values without an end");
    if (entries > most_entries - visited_) fail(fmt::format("holds more than {} names", most_entries));
    visited_ += entries;
  }

  void visit(const Pickled& v, const std::string& name, size_t depth) {
    count(1, depth);
    switch (v.kind) {
      case Kind::boolean:
        return put(name, v.integer ? "true" : "false");
      case Kind::integer:
        return put(name, fmt::to_string(v.integer));
      case Kind::real:
        return put(name, fmt::to_string(v.real));
      case Kind::text:
        return put(name, v.text);
      case Kind::dict:
        return visit_dict(v, name, depth);
      case Kind::list:
      case Kind::tuple:
        for (size_t i = 0; i < v.items.size(); ++i) visit(*v.items[i], join(name, fmt::to_string(i)), depth + 1);
        return;
      case Kind::call:
        return visit_call(v, name, depth);
      default:  // nothing, or of no use here
        return;
    }
  }
  void put(const std::string& name, std::string_view value) {
    if (name.empty() || value.size() > longest_value || !is_utf8(value)) return;
    text_ += name.size() + value.size();
    if (text_ > most_text) fail(fmt::format("holds more than {} bytes of names and texts", most_text));
    tree_.values[name] = value;
  }

  // An optimiser counts its tensors: they are nobody's weights.
  void visit_dict(const Pickled& dict, const std::string& name, size_t depth) {
    count(dict.items.size() / 2, depth);
    for (size_t i = 0; i + 1 < dict.items.size(); i += 2)
      if (dict.items[i]->is(Kind::text)) visit(*dict.items[i + 1], join(name, dict.items[i]->text), depth + 1);
  }

  void visit_call(const Pickled& v, const std::string& name, size_t depth) {
    if (v.text == rebuild_parameter && !v.items.empty()) return visit(*v.items[0], name, depth + 1);
    if (v.text == rebuild_tensor || v.text == rebuild_tensor_v2) return add(torch_tensor(name, v.items));
    if (v.text == rebuild_from_type && v.items.size() > 2 &&
        (v.items[0]->text == rebuild_tensor || v.items[0]->text == rebuild_tensor_v2))
      return add(torch_tensor(name, v.items[2]->items));
    if (calls_any(v, reconstruct) || calls_any(v, from_buffer)) return add(array(name, v));
    if (calls_any(v, scalar)) return visit_scalar(v, name);
    if (v.text == persistent_object && !v.items.empty() && v.items[0]->is(Kind::dict)) {
      const Pickled *const kind = v.items[0]->find("class_name"), *const state = v.items[0]->find("state");
      if (kind) put(join(name, "class"), kind->text);
      if (state && state->is(Kind::dict)) return visit_object(*state, name, depth + 1);
    } else if (v.state && v.state->is(Kind::dict)) {
      put(join(name, "class"), v.text);
      if (v.text == tf_network) return visit_tf_network(*v.state, name, depth + 1);
      return visit_object(*v.state, name, depth + 1);
    }
    tree_.passed_over.push_back(fmt::format("{}: {}", printable(name, 80), printable(v.text, 80)));
  }

  // Of a module: its tensors and what is within it have the names of its own.
  void visit_object(const Pickled& state, const std::string& name, size_t depth) {
    count(state.items.size() / 2, depth);
    for (size_t i = 0; i + 1 < state.items.size(); i += 2) {
      if (!state.items[i]->is(Kind::text)) continue;
      const std::string_view key = state.items[i]->text;
      const Pickled& value = *state.items[i + 1];
      if (key == "_parameters" || key == "_buffers" || key == "_modules")
        visit(value, name, depth + 1);
      else if (!key.ends_with("_hooks") && !key.starts_with("_non_persistent") && key != "_load_state_dict_post_hooks")
        visit(value, join(name, key), depth + 1);
    }
  }

  void visit_tf_network(const Pickled& state, const std::string& name, size_t depth) {
    count(1, depth);
    if (const Pickled* variables = state.find("variables"); variables && variables->is(Kind::list))
      for (const Pickled* v : variables->items) {
        if (v->items.size() != 2 || !v->items[0]->is(Kind::text)) fail("holds a variable without a name");
        const std::string own = join(name, v->items[0]->text, '/');
        calls_any(*v->items[1], scalar) ? add(scalar_tensor(own, *v->items[1])) : visit(*v->items[1], own, depth + 1);
      }
    if (const Pickled* components = state.find("components"); components && components->is(Kind::dict))
      for (size_t i = 0; i + 1 < components->items.size(); i += 2)
        if (const Pickled& c = *components->items[i + 1]; c.calls(tf_network) && c.state && c.state->is(Kind::dict))
          visit_tf_network(*c.state, join(name, components->items[i]->text, '/'), depth + 1);
    for (const char* key : {"version", "static_kwargs", "build_func_name"})
      if (const Pickled* value = state.find(key)) visit(*value, join(name, key), depth + 1);
  }

  // --- storages
  // Outside of the pickle: ('storage', type, key, location, count[, view]).
  static std::optional<PythonStorage> outside(const Pickled& value) {
    const std::vector<const Pickled*>& id = value.items;
    if (!value.is(Kind::persistent) || id.size() < 5 || id[0]->text != "storage" || !id[1]->is(Kind::global) ||
        !id[2]->is(Kind::text) || id[2]->text.empty() || !id[4]->is(Kind::integer) || id[4]->integer < 0 ||
        (id.size() > 5 && !id[5]->is(Kind::none)))
      return {};
    const auto type = std::ranges::find(types, id[1]->text, &Type::storage);
    if (type == std::end(types)) return {};
    return PythonStorage{type->dtype, type->size, id[4]->integer, std::string(id[2]->text)};
  }

  // Within it: what PyTorch would save as a file, in its old form, of one storage.
  std::optional<PythonStorage> inside(const Pickled& call) {
    if (!call.calls(load_from_bytes) || call.items.empty() || !call.items[0]->is(Kind::bytes)) return {};
    const std::span blob = std::as_bytes(std::span(call.items[0]->text));
    if (const auto known = inside_.find(blob.data()); known != inside_.end()) return known->second;
    size_t at = 0;
    const auto next = [&] {
      Pickle p = parse_pickle(blob.subspan(at), file_, python_globals());
      at += p.bytes;
      return p;
    };
    if (const Pickle p = next(); !p.root->is(Kind::large) || p.root->text != pytorch_magic) return {};
    if (const Pickle p = next(); !p.root->is(Kind::integer) || p.root->integer != 1001) return {};
    next();
    const Pickle root = next();
    std::optional<PythonStorage> s = outside(*root.root);
    if (!s) return {};
    next();
    uint64_t count = 0;
    if (blob.size() - at < 8) return {};
    std::memcpy(&count, blob.data() + at, 8);
    at += 8;
    if (count != uint64_t(s->count) || count > (blob.size() - at) / uint64_t(s->size)) return {};
    s->key.clear();
    s->data = blob.subspan(at, count * uint64_t(s->size));
    inside_.emplace(blob.data(), *s);
    return s;
  }

  // --- tensors
  void add(PythonTensor t) {
    const auto malformed = [&](bool when) {
      if (when) fail(fmt::format("tensor {} is malformed", quoted(t.name)));
    };
    malformed(t.shape.size() != t.strides.size());
    // The last element, and how many there are: none may lie outside, nor be given twice.
    int64_t last = t.first, count = 1;
    bool empty = false;
    for (size_t i = 0; i < t.shape.size(); ++i) {
      int64_t reach = 0;
      malformed(__builtin_mul_overflow(count, std::max<int64_t>(1, t.shape[i]), &count) ||
                __builtin_mul_overflow(std::max<int64_t>(0, t.shape[i] - 1), t.strides[i], &reach) ||
                __builtin_add_overflow(last, reach, &last));
      empty |= t.shape[i] == 0;
    }
    if (!empty && (last >= t.storage.count || count > t.storage.count))
      fail(fmt::format("tensor {} needs {} numbers, its storage has {}", quoted(t.name), std::max(last + 1, count),
                       t.storage.count));
    tree_.tensors.push_back(std::move(t));
  }

  PythonTensor torch_tensor(const std::string& name, const std::vector<const Pickled*>& arguments) {
    if (arguments.size() < 4) fail(fmt::format("tensor {} is malformed", quoted(name)));
    auto data = outside(*arguments[0]);
    if (!data) data = inside(*arguments[0]);
    if (!data) fail(fmt::format("tensor {} is malformed", quoted(name)));
    PythonTensor t{.name = name, .storage = *data, .first = natural(name, *arguments[1]), .shape = {}, .strides = {}};
    t.shape = naturals(name, *arguments[2]);
    t.strides = naturals(name, *arguments[3]);
    return t;
  }
  int64_t natural(const std::string& tensor, const Pickled& v) const {
    if (!v.is(Kind::integer) || v.integer < 0) fail(fmt::format("tensor {} has a size that is none", quoted(tensor)));
    return v.integer;
  }
  std::vector<int64_t> naturals(const std::string& tensor, const Pickled& v) const {
    if (!v.is(Kind::tuple) || v.items.size() > most_axes) fail(fmt::format("tensor {} has no shape", quoted(tensor)));
    std::vector<int64_t> all;
    for (const Pickled* item : v.items) all.push_back(natural(tensor, *item));
    return all;
  }

  // --- NumPy
  // dtype('f4'), whose attributes begin (version, byte order, ...).
  const Type& type_of(const std::string& name, const Pickled& v) const {
    const Pickled* const code = v.calls(numpy_dtype) && !v.items.empty() ? v.items[0] : nullptr;
    const auto type = code ? std::ranges::find(types, code->text, &Type::numpy) : std::end(types);
    if (type == std::end(types) || code->text.empty())
      fail(fmt::format("array {} is of type {}, which no weights are", quoted(name),
                       code ? quoted(code->text) : "unknown"));
    if (v.state && v.state->items.size() > 1 && v.state->items[1]->text == ">")
      fail(fmt::format("array {} has numbers that are not little-endian", quoted(name)));
    return *type;
  }
  // _reconstruct(ndarray, (0,), b'b') with the attributes (version, shape, dtype, by columns, bytes), or
  // _frombuffer(bytes, dtype, shape, order).
  PythonTensor array(const std::string& name, const Pickled& v) const {
    const bool buffer = calls_any(v, from_buffer);
    const std::vector<const Pickled*>& parts = buffer ? v.items : v.state ? v.state->items : v.items;
    if (parts.size() < (buffer ? 4 : 5)) fail(fmt::format("array {} is malformed", quoted(name)));
    const Pickled& data = *parts[buffer ? 0 : 4];
    const Type& type = type_of(name, *parts[buffer ? 1 : 2]);
    const bool by_columns = buffer ? parts[3]->text == "F" : parts[3]->integer != 0;
    if (!data.is(Kind::bytes) && !data.is(Kind::text))
      fail(fmt::format("array {} is of objects, which no weights are", quoted(name)));
    PythonTensor t{.name = name,
                   .storage = {.dtype = type.dtype, .size = type.size, .count = int64_t(data.text.size()) / type.size},
                   .shape = naturals(name, *parts[buffer ? 2 : 1]),
                   .strides = {}};
    t.storage.data = std::as_bytes(std::span(data.text));
    t.strides.resize(t.shape.size());
    int64_t stride = 1;
    for (size_t i = 0; i < t.shape.size(); ++i) {
      const size_t axis = by_columns ? i : t.shape.size() - 1 - i;
      t.strides[axis] = stride;
      if (__builtin_mul_overflow(stride, std::max<int64_t>(1, t.shape[axis]), &stride))
        fail(fmt::format("array {} is malformed", quoted(name)));
    }
    return t;
  }
  // scalar(dtype, bytes)
  PythonTensor scalar_tensor(const std::string& name, const Pickled& v) const {
    if (v.items.size() < 2) fail(fmt::format("number {} is malformed", quoted(name)));
    const Type& type = type_of(name, *v.items[0]);
    const std::string_view bytes = v.items[1]->text;
    if (int64_t(bytes.size()) != type.size) fail(fmt::format("number {} is malformed", quoted(name)));
    return {.name = name,
            .storage = {.dtype = type.dtype, .size = type.size, .count = 1, .data = std::as_bytes(std::span(bytes))},
            .shape = {},
            .strides = {}};
  }
  void visit_scalar(const Pickled& v, const std::string& name) {
    const std::string_view dtype = scalar_tensor(name, v).storage.dtype, bytes = v.items[1]->text;
    const auto number = [&](auto n) {
      std::memcpy(&n, bytes.data(), sizeof(n));
      put(name, fmt::to_string(n));
    };
    if (dtype == "F32") number(float{});
    if (dtype == "F64") number(double{});
    if (dtype == "I32") number(int32_t{});
    if (dtype == "I64") number(int64_t{});
    if (dtype == "U8") number(uint8_t{});
  }

  const Pickle& pickle_;
  std::string_view file_;
  PythonTree tree_;
  std::map<const std::byte*, PythonStorage> inside_;
  size_t visited_ = 0, text_ = 0;
};

}  // namespace

// Modules of whole packages may be objects in a file: they are looked into, or named and passed over.
std::span<const std::string_view> python_globals() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> all{rebuild_tensor,
                                      rebuild_tensor_v2,
                                      rebuild_parameter,
                                      rebuild_from_type,
                                      load_from_bytes,
                                      persistent_object,
                                      numpy_dtype,
                                      "_codecs.encode",
                                      "argparse.Namespace",
                                      "builtins.set",
                                      "builtins.frozenset",
                                      "builtins.dict",
                                      "builtins.object",
                                      "__builtin__.set",
                                      "__builtin__.frozenset",
                                      "__builtin__.dict",
                                      "__builtin__.object",
                                      "collections.OrderedDict",
                                      "collections.defaultdict",
                                      "copyreg._reconstructor",
                                      "copy_reg._reconstructor",
                                      "dnnlib.*",
                                      "numpy.ndarray",
                                      "torch.Size",
                                      "torch.Tensor",
                                      "torch.device",
                                      "torch.nn.*",
                                      "torchvision.*",
                                      "training.*",
                                      "vision_aided_loss.*",
                                      "timm.*",
                                      "clip.*"};
    for (const auto& group : {std::span(reconstruct), std::span(scalar), std::span(from_buffer)})
      all.insert(all.end(), group.begin(), group.end());
    for (const Type& t : types) all.push_back(t.storage);
    return all;
  }();
  return names;
}

PythonTree name_tree(const Pickle& pickle, std::string_view file) { return Namer(pickle, file).run(); }

}  // namespace firn
