// The one place that lists models. A model is a folder, with a row here.
#pragma once
#include <map>
#include <optional>
#include <vector>

#include "io/safetensors.h"
#include "models/network.h"
#include "models/spec.h"

namespace firn {

// What a file of weights says about the networks in it.
struct SourceModel {
  bool g = false, d = false;  // which of them it holds; G_ema stands for G
  bool described = false;     // by its metadata; otherwise they are known no further than tensors tell of the model
  ModelSpec model;
  std::vector<int64_t> class_counts = {};  // images that each class had in training; empty: not known
};

// How tensors of a name depend on the number of classes. Where the classes are others, nobody expects to find them.
struct ClassTensor {
  enum class Kind {
    table,  // one row a class along `axis`; without classes, one for all
    grown,  // [O,I]: inputs of an embedding behind the others, where there are classes
    other   // of no use to other classes
  };
  std::string pattern;  // of NETWORK.NAME
  Kind kind;
  int axis = 0;
};

// How another program's files name a model's tensors.
struct FileFormat {
  std::string title;  // "stylegan2-ada-pytorch"
  bool (*recognise)(const SafetensorsFile& file);
  void (*rename)(SafetensorsFile& file);  // to G.NAME, D.NAME and G_ema.NAME, in our order of axes; drops the rest
  // Options that tensors do not tell, by the file's plain values; null: nobody knows them.
  void (*tell)(ModelSpec& model, const std::map<std::string, std::string>& values) = nullptr;
  static void by_default(ModelSpec&, const std::map<std::string, std::string>&) {}  // they are ours
};

struct Model {
  std::string kind, title;  // "stylegan2", "StyleGAN2"
  ModelSpec (*defaults)();
  std::unique_ptr<Generator> (*generator)(const ModelSpec&, const Device&);
  std::unique_ptr<Discriminator> (*discriminator)(const ModelSpec&, const Device&);

  // By the tensors of a file without a description; false: none of this model's. IoError for one that is none after
  // all.
  bool (*recognise)(const SafetensorsFile& file, SourceModel& source) = nullptr;
  // `here` with every option that makes no difference to `there` set as there.
  ModelSpec (*aligned)(const ModelSpec& here, const ModelSpec& there) = [](const ModelSpec& here, const ModelSpec&) {
    return here;
  };
  // Layers that write images and that read them, as patterns: they are carried over to images of other channels.
  std::vector<std::string> writers = {}, readers = {};
  double equalised = 0;   // weights count by that / sqrt(inputs); 0: as they are
  bool spectral = false;  // D's weights count by 1 / sigma
  // Tensors that are otherwise for another number of classes.
  std::vector<ClassTensor> class_tensors = {};
  std::vector<FileFormat> formats = {};
};

const std::vector<Model>& models();
const Model& model(std::string_view kind);  // ConfigError
void add_model(Model model);                // of a program that brings its own

std::unique_ptr<Generator> make_generator(const ModelSpec& spec, const Device& device);
std::unique_ptr<Discriminator> make_discriminator(const ModelSpec& spec, const Device& device);

// "model": {"kind": ..., ...}, and back; kind-less is StyleGAN2, as files were before there was another. IoError naming
// `name`.
nlohmann::json to_json(const ModelSpec& spec);
ModelSpec model_from_json(const nlohmann::json& json, std::string_view name);

inline constexpr const char* snapshot_format = "firn-1";  // "format" in the metadata of files that describe themselves

// IoError where it holds no network of a known model.
SourceModel source_model(const SafetensorsFile& file);

// Sets what the source tells and is not `given` as there. Says what was taken: "mapping depth 8, ..."; empty: nothing.
std::string take_shape(ModelSpec& here, const SourceModel& source, const std::function<bool(const Option&)>& given);

// Where `here` differs from the source in shape, as options: "--map-depth 8 (here 2), ..."; empty: nowhere.
std::string shape_differences(const SourceModel& source, const ModelSpec& here);

}  // namespace firn
