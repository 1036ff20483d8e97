// Which tensors and filters freezing options name, and what freezing them saves (FreezeD: Mo et al. 2020, arXiv
// 2002.10964; filters by Fisher information: AdAM, Zhao et al. 2022, arXiv 2210.16559).
#pragma once
#include <string>
#include <vector>

#include "base/option.h"
#include "models/filters.h"
#include "models/network.h"

namespace firn {

struct FreezeOptions {
  int blocks = 0;                     // --freeze-d N: D's N first blocks, those of the highest resolutions; -1: auto
  int layers = 0;                     // --freezed L: D's first L layers, counted as stylegan2-ada-pytorch does
  std::vector<std::string> patterns;  // --freeze 'D:b64.*,b32.conv0': network, then names with * and ?; without those,
                                      // a tensor or the layer that holds it; with :0-31,40 or :fisher>q50 behind
                                      // them, these filters of the layers
  std::vector<std::string> filters;   // what the latter chose, as lists: it is not chosen again
  std::vector<std::string> fresh;     // NETWORK:NAME of what trains all the same, for the source has none of it
  int fisher_batches = 16;            // --fisher-batches
  int g_blocks = 0;     // --freeze-g N: G's N blocks of the lowest resolutions (FreezeG, Park et al. 2023)
  bool mapping = true;  // with them the mapping network, as FreezeG has it
  bool open() const { return blocks < 0; }  // how many of D's is still to be found out (training/run/selection.h)
  void visit(OptionVisitor& v);
};

// Patterns over G's tensors. ConfigError where G has fewer blocks, or none that count.
std::vector<std::string> freeze_g_blocks(const Generator& g, int blocks, bool mapping);
int freezable_blocks(const Discriminator& d);  // all but the head
// Patterns over D's tensors. ConfigError where D has fewer blocks or layers: the head always trains.
std::vector<std::string> freeze_d_blocks(const Discriminator& d, int blocks);
std::vector<std::string> freeze_d_layers(const Discriminator& d, int layers);

// Freezes what the options name, and nothing else, filters that are still to be chosen apart. ConfigError for a pattern
// that names nothing.
void apply(const FreezeOptions& options, const Generator& g, const Discriminator& d);

// Of what is frozen, `fresh` trains.
void train_fresh(const FreezeOptions& options, const Generator& g, const Discriminator& d);

// Filters that are to be chosen by Fisher information.
std::vector<FilterPattern> filters_to_choose(const FreezeOptions& options);

struct FreezeTable {
  struct Row {
    std::string name;
    Shape shape;  // as in files
    int64_t count;
    bool frozen;
    int64_t filters = 0, frozen_filters = 0;  // of weights of which some are
  };
  std::vector<Row> rows;          // without buffers
  int64_t total = 0, frozen = 0;  // numbers
  double backward_removed = 0;    // share of D's backward multiplications that freezing removes; 0 for G
};

FreezeTable freeze_table(const Network& network);
std::string to_string(const FreezeTable& table);

// Per image, in D's training step: an input gradient for each layer with something trainable before it, a weight
// gradient for the filters that train of each layer. `as_trainable`: as if nothing were frozen.
double backward_flops(const Discriminator& d, bool as_trainable = false);

}  // namespace firn
