// Which tensors freezing options name, and what freezing them saves (FreezeD: Mo et al. 2020, arXiv 2002.10964).
#pragma once
#include <string>
#include <vector>

#include "models/stylegan2.h"

namespace firn {

struct FreezeOptions {
  int blocks = 0;                     // --freeze-d N: D's N highest resolutions, with their fromRGB
  int layers = 0;                     // --freezed L: D's first L layers, counted as stylegan2-ada-pytorch does
  std::vector<std::string> patterns;  // --freeze 'D:b64.*,b32.conv0': network, then names with * and ?; without those,
                                      // a tensor or the layer that holds it
};

// Patterns over D's tensors. ConfigError where D has fewer blocks or layers: what is at 4x4 always trains.
std::vector<std::string> freeze_d_blocks(const StyleGan2Discriminator& d, int blocks);
std::vector<std::string> freeze_d_layers(const StyleGan2Discriminator& d, int layers);

// Freezes what the options name, and nothing else. ConfigError for a pattern that names nothing.
void apply(const FreezeOptions& options, const StyleGan2Generator& g, const StyleGan2Discriminator& d);

struct FreezeTable {
  struct Row {
    std::string name;
    Shape shape;  // as in files
    int64_t count;
    bool frozen;
  };
  std::vector<Row> rows;          // without buffers
  int64_t total = 0, frozen = 0;  // numbers
  double backward_removed = 0;    // share of D's backward multiplications that freezing removes; 0 for G
};

FreezeTable freeze_table(const StyleGan2Generator& g);
FreezeTable freeze_table(const StyleGan2Discriminator& d);
std::string to_string(const FreezeTable& table);

// Per image, in D's training step: an input gradient for each layer with something trainable before it, a weight
// gradient for each trainable layer. `as_trainable`: as if nothing were frozen.
double backward_flops(const StyleGan2Discriminator& d, bool as_trainable = false);

}  // namespace firn
