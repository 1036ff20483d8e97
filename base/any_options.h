// A struct of options of whatever kind as a value: with `kind`, a name, and visit(OptionVisitor&).
#pragma once
#include <memory>
#include <string_view>

#include "base/error.h"
#include "base/option.h"

namespace firn {

class AnyOptions {
 public:
  AnyOptions() = default;  // none
  template <class O>
  requires requires { O::kind; }
  AnyOptions(O options) : held_(std::make_unique<Holder<O>>(std::move(options))) {}
  AnyOptions(const AnyOptions& other) : held_(other.held_ ? other.held_->clone() : nullptr) {}
  AnyOptions& operator=(const AnyOptions& o) { return held_ = o.held_ ? o.held_->clone() : nullptr, *this; }
  AnyOptions(AnyOptions&&) = default;
  AnyOptions& operator=(AnyOptions&&) = default;

  bool defined() const { return held_ != nullptr; }
  std::string_view kind() const { return held_ ? held_->kind() : std::string_view("none"); }
  void visit(OptionVisitor& v) {
    if (held_) held_->visit(v);
  }
  template <class O>
  O& as() {  // ConfigError for another kind
    if (kind() != O::kind) throw_kind(O::kind, kind());
    return static_cast<Holder<O>&>(*held_).options;
  }
  template <class O>
  const O& as() const {
    return const_cast<AnyOptions*>(this)->as<O>();
  }

 private:
  struct Held {
    virtual ~Held() = default;
    virtual std::string_view kind() const = 0;
    virtual std::unique_ptr<Held> clone() const = 0;
    virtual void visit(OptionVisitor& v) = 0;
  };
  template <class O>
  struct Holder : Held {
    explicit Holder(O o) : options(std::move(o)) {}
    std::string_view kind() const override { return O::kind; }
    std::unique_ptr<Held> clone() const override { return std::make_unique<Holder>(options); }
    void visit(OptionVisitor& v) override { options.visit(v); }
    O options;
  };
  [[noreturn]] static void throw_kind(std::string_view wanted, std::string_view there) {
    throw ConfigError(fmt::format("expected options of {}, not of {}", wanted, there));
  }
  std::unique_ptr<Held> held_;
};

}  // namespace firn
