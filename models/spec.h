// A model and its options as one value: what a run keeps of them, and what the metadata of files says under "model".
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/any_options.h"
#include "kernels/core/types.h"

namespace firn {

struct ImageShape {
  int height = 0, width = 0, channels = 3;
  bool operator==(const ImageShape&) const = default;
};

TextValue type_value(DType& type);  // "f32", "bf16", "f64"

// What the options of every model have.
struct ModelBasics {
  ImageShape images;
  int classes = 0;  // 0: unconditional
  int z_dim = 0;
  DType type = DType::f32, activation_type = DType::f32;  // of parameters and of most activations
  uint64_t seed = 0;                                      // of the initial weights
};

// Options of a model: a struct with the members height, width (0: square), img_channels, c_dim, z_dim, type,
// activation_type and seed, kind, visit(OptionVisitor&) for all others, describe() and check(), which throws
// ConfigError.
class ModelSpec {
 public:
  ModelSpec() = default;  // none
  template <class O>
  requires requires { O::kind; }
  ModelSpec(O options) : options_(std::move(options)), face_(&face_of<O>) {}

  bool defined() const { return options_.defined(); }
  std::string_view kind() const { return options_.kind(); }
  ModelBasics basics() const { return face().basics(options_); }
  void set(const ModelBasics& basics) { face().set(options_, basics); }
  ImageShape images() const { return basics().images; }
  int classes() const { return basics().classes; }
  DType type() const { return basics().type; }
  void set_types(DType type, DType activation_type);
  ModelSpec seeded(uint64_t seed) const;
  void visit(OptionVisitor& v);
  std::string describe() const { return face().describe(options_); }  // in the start-up text, behind the model's name
  void check() const { face().check(options_); }

  // ConfigError for another kind.
  template <class O>
  const O& as() const {
    return options_.as<O>();
  }
  template <class O>
  O& as() {
    return options_.as<O>();
  }

 private:
  struct Face {
    ModelBasics (*basics)(const AnyOptions&);
    void (*set)(AnyOptions&, const ModelBasics&);
    void (*visit)(AnyOptions&, OptionVisitor&);  // the members that every model has
    std::string (*describe)(const AnyOptions&);
    void (*check)(const AnyOptions&);
  };
  template <class O>
  static constexpr Face face_of = {.basics =
                                       [](const AnyOptions& any) {
                                         const O& o = any.as<O>();
                                         return ModelBasics{
                                             .images = {o.height, o.width ? o.width : o.height, o.img_channels},
                                             .classes = o.c_dim,
                                             .z_dim = o.z_dim,
                                             .type = o.type,
                                             .activation_type = o.activation_type,
                                             .seed = o.seed};
                                       },
                                   .set =
                                       [](AnyOptions& any, const ModelBasics& b) {
                                         O& o = any.as<O>();
                                         o.height = b.images.height;
                                         o.width = b.images.width;
                                         o.img_channels = b.images.channels;
                                         o.c_dim = b.classes;
                                         o.z_dim = b.z_dim;
                                         o.type = b.type;
                                         o.activation_type = b.activation_type;
                                         o.seed = b.seed;
                                       },
                                   .visit =
                                       [](AnyOptions& any, OptionVisitor& v) {
                                         O& o = any.as<O>();
                                         v({.key = "height"}, o.height);
                                         v({.key = "width"}, o.width);
                                         v({.key = "img_channels"}, o.img_channels);
                                         v({.key = "c_dim"}, o.c_dim);
                                         v({.key = "type"}, type_value(o.type));
                                         v({.key = "activation_type"}, type_value(o.activation_type));
                                         v({.key = "seed"}, o.seed);
                                       },
                                   .describe = [](const AnyOptions& any) { return any.as<O>().describe(); },
                                   .check = [](const AnyOptions& any) { any.as<O>().check(); }};

  const Face& face() const;  // ConfigError where there is none
  AnyOptions options_;
  const Face* face_ = nullptr;
};

}  // namespace firn
