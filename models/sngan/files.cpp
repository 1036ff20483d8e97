#include "models/sngan/files.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "models/files.h"
#include "models/sngan/sngan.h"

namespace firn {
namespace {

// A size of a tensor, read without trust.
int dim(const SafetensorsFile& file, const std::string& name, size_t i, size_t rank) {
  const std::vector<int64_t>& shape = file.at(name).shape;
  if (shape.size() != rank || std::ranges::any_of(shape, [](int64_t d) { return d < 1 || d > 100'000; }))
    throw IoError(fmt::format("{}: {} is {}, which no SNGAN has", file.name, name, to_string(shape)));
  return int(shape[i]);
}

bool recognise(const SafetensorsFile& file, SourceModel& source) {
  const std::string g = has_network(file, "G") ? "G." : "G_ema.";
  const bool by_g = file.contains(g + "l1.weight") && file.contains(g + "block2.c1.weight");
  if (!by_g && !file.contains("D.block1.c1.weight")) return false;
  SnganOptions o;
  int blocks = 0;
  if (by_g) {
    while (file.contains(g + fmt::format("block{}.c1.weight", blocks + 2))) ++blocks;
    o.height = 4 << std::clamp(blocks, 0, 6);
    o.z_dim = dim(file, g + "l1.weight", 1, 2);
    o.img_channels = dim(file, g + fmt::format("l{}.weight", blocks + 2), 0, 4);
    o.ch = dim(file, g + "block2.c1.weight", 1, 4) / (o.height == 32 ? 4 : 16);
    const bool by_class = file.at(g + "block2.b1.gamma").shape.size() == 2;
    o.c_dim = by_class ? dim(file, g + "block2.b1.gamma", 0, 2) : 0;
  } else {
    while (file.contains(fmt::format("D.block{}.c1.weight", blocks + 1))) ++blocks;
    o.height = blocks == 4 ? 32 : blocks == 5 ? 64 : 128;
    o.img_channels = dim(file, "D.block1.c1.weight", 1, 4);
    o.ch = dim(file, "D.block1.c1.weight", 0, 4) / (o.height == 32 ? 2 : 1);
    o.c_dim = file.contains("D.l_y.weight") ? dim(file, "D.l_y.weight", 0, 2) : 0;
  }
  source.model = o;
  return true;
}

}  // namespace

Model sngan_model() {
  return {.kind = std::string(SnganOptions::kind),
          .title = "SNGAN-projection",
          .defaults = [] { return ModelSpec(SnganOptions{}); },
          .generator = [](const ModelSpec& spec, const Device& device) -> std::unique_ptr<Generator> {
            return std::make_unique<SnganGenerator>(spec.as<SnganOptions>(), device);
          },
          .discriminator = [](const ModelSpec& spec, const Device& device) -> std::unique_ptr<Discriminator> {
            return std::make_unique<SnganDiscriminator>(spec.as<SnganOptions>(), device);
          },
          .recognise = recognise,
          .writers = {"l[4-9]"},
          .readers = {"block1.c1", "block1.c_sc"},
          .spectral = true,
          .class_tensors = {{"G.block*.b?.gamma", ClassTensor::Kind::table},
                            {"G.block*.b?.beta", ClassTensor::Kind::table},
                            {"D.l_y.weight", ClassTensor::Kind::table},
                            {"D.l_y.u", ClassTensor::Kind::table}},
          .formats = {chainer_names()}};
}

}  // namespace firn
