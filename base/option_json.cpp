#include "base/option_json.h"

#include <fmt/format.h>

#include <utility>

namespace firn {
namespace {

void require_object(const nlohmann::json& json, const char* key) {
  if (!json.is_object()) throw nlohmann::json::type_error::create(302, std::string(key) + " is not an object", &json);
}

template <class T>
constexpr bool is_whole = std::is_integral_v<T> && !std::is_same_v<T, bool>;

// The library casts what does not fit.
template <class T>
T whole(const nlohmann::json& json, const char* key) {
  const bool fits = json.is_number_unsigned()  ? std::in_range<T>(json.get<uint64_t>())
                    : json.is_number_integer() ? std::in_range<T>(json.get<int64_t>())
                                               : false;
  if (!fits)
    throw nlohmann::json::type_error::create(302, fmt::format("{} is {}, no whole number here", key, json.dump()),
                                             &json);
  return json.get<T>();
}

}  // namespace

void JsonWriter::row(const Option& option, OptionValue value) {
  if (!*option.key) return;
  nlohmann::json& member = (*objects_.back())[option.key];
  std::visit(
      [&](const auto& v) {
        if constexpr (std::is_same_v<std::decay_t<decltype(v)>, TextValue>)
          member = v.get();
        else
          member = *v;
      },
      value);
}

void JsonWriter::enter(const char* key) {
  nlohmann::json& member = (*objects_.back())[key];
  if (member.is_null()) member = nlohmann::json::object();
  objects_.push_back(&member);
}

JsonReader::JsonReader(const nlohmann::json& json) : objects_{&json} { require_object(json, "the value"); }

void JsonReader::row(const Option& option, OptionValue value) {
  if (!*option.key || !objects_.back()) return;
  const auto member = objects_.back()->find(option.key);
  if (member == objects_.back()->end()) return;
  std::visit(
      [&](const auto& v) {
        if constexpr (std::is_same_v<std::decay_t<decltype(v)>, TextValue>)
          v.set(member->template get<std::string>());
        else if constexpr (is_whole<std::decay_t<decltype(*v)>>)
          *v = whole<std::decay_t<decltype(*v)>>(*member, option.key);
        else if constexpr (requires { requires is_whole<typename std::decay_t<decltype(*v)>::value_type>; } &&
                           !std::is_same_v<std::decay_t<decltype(*v)>, std::string>) {
          using Number = typename std::decay_t<decltype(*v)>::value_type;
          if (!member->is_array())
            throw nlohmann::json::type_error::create(302, std::string(option.key) + " is no list", &*member);
          v->clear();
          for (const nlohmann::json& n : *member) v->push_back(whole<Number>(n, option.key));
        } else
          member->get_to(*v);
      },
      value);
}

void JsonReader::enter(const char* key) {
  const nlohmann::json* inner = nullptr;
  if (objects_.back())
    if (const auto member = objects_.back()->find(key); member != objects_.back()->end()) {
      require_object(*member, key);
      inner = &*member;
    }
  objects_.push_back(inner);
}

}  // namespace firn
