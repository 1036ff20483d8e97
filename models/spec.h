// A model and its options as one value: what a run keeps of them, and what the metadata of files says under "model".
#pragma once
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/option.h"
#include "kernels/core/types.h"

namespace firn {

struct ImageShape {
  int height = 0, width = 0, channels = 3;
  bool operator==(const ImageShape&) const = default;
};

// What the options of every model have.
struct ModelBasics {
  ImageShape images;
  int classes = 0;  // 0: unconditional
  int z_dim = 0;
  DType type = DType::f32, activation_type = DType::f32;  // of parameters and of most activations
  uint64_t seed = 0;                                      // of the initial weights
};

// Options of a model: a struct with the members height, width (0: square), img_channels, c_dim, z_dim, type,
// activation_type and seed, kind, visit(OptionVisitor&), describe() and check(), which throws ConfigError.
class ModelSpec {
 public:
  ModelSpec() = default;  // none
  template <class O>
  requires requires { O::kind; }
  ModelSpec(O options) : held_(std::make_unique<Holder<O>>(std::move(options))) {}
  ModelSpec(const ModelSpec& other) : held_(other.held_ ? other.held_->clone() : nullptr) {}
  ModelSpec& operator=(const ModelSpec& other) { return held_ = other.held_ ? other.held_->clone() : nullptr, *this; }
  ModelSpec(ModelSpec&&) = default;
  ModelSpec& operator=(ModelSpec&&) = default;

  bool defined() const { return held_ != nullptr; }
  std::string_view kind() const { return held_ ? held_->kind() : std::string_view(); }
  ModelBasics basics() const { return held().basics(); }
  void set(const ModelBasics& basics) { held().set(basics); }
  ImageShape images() const { return basics().images; }
  int classes() const { return basics().classes; }
  DType type() const { return basics().type; }
  void set_types(DType type, DType activation_type);
  ModelSpec seeded(uint64_t seed) const;
  void visit(OptionVisitor& v) { held().visit(v); }
  std::string describe() const { return held().describe(); }  // a line of the start-up text, without the model's name
  void check() const { held().check(); }

  // ConfigError for another kind.
  template <class O>
  const O& as() const {
    require(O::kind);
    return static_cast<const Holder<O>&>(held()).options;
  }
  template <class O>
  O& as() {
    require(O::kind);
    return static_cast<Holder<O>&>(held()).options;
  }

 private:
  struct Held {
    virtual ~Held() = default;
    virtual std::string_view kind() const = 0;
    virtual std::unique_ptr<Held> clone() const = 0;
    virtual ModelBasics basics() const = 0;
    virtual void set(const ModelBasics& basics) = 0;
    virtual void visit(OptionVisitor& v) = 0;
    virtual std::string describe() const = 0;
    virtual void check() const = 0;
  };
  template <class O>
  struct Holder : Held {
    explicit Holder(O o) : options(std::move(o)) {}
    std::string_view kind() const override { return O::kind; }
    std::unique_ptr<Held> clone() const override { return std::make_unique<Holder>(options); }
    ModelBasics basics() const override {
      const O& o = options;
      return {.images = {o.height, o.width ? o.width : o.height, o.img_channels},
              .classes = o.c_dim,
              .z_dim = o.z_dim,
              .type = o.type,
              .activation_type = o.activation_type,
              .seed = o.seed};
    }
    void set(const ModelBasics& b) override {
      options.height = b.images.height;
      options.width = b.images.width;
      options.img_channels = b.images.channels;
      options.c_dim = b.classes;
      options.z_dim = b.z_dim;
      options.type = b.type;
      options.activation_type = b.activation_type;
      options.seed = b.seed;
    }
    void visit(OptionVisitor& v) override { options.visit(v); }
    std::string describe() const override { return options.describe(); }
    void check() const override { options.check(); }
    O options;
  };

  Held& held() const;  // ConfigError where there is none
  void require(std::string_view kind) const;
  std::unique_ptr<Held> held_;
};

TextValue type_value(DType& type);  // "f32", "bf16", "f64"

}  // namespace firn
