// The sections of a page. Each is HTML, or empty where the runs have nothing to say in it.
#pragma once
#include <string>
#include <vector>

#include "training/report/album.h"

namespace firn {

using Runs = std::vector<RunRecord>;
using Album = std::vector<RunPictures>;  // one a run

std::string results_section(const Runs& runs);  // best and final
std::string samples_section(const Runs& runs, const Album& album);
std::string metrics_section(const Runs& runs);
std::string losses_section(const Runs& runs);
std::string neighbours_section(const Runs& runs, const Album& album);
std::string freezing_section(const Runs& runs);
std::string cost_section(const Runs& runs);
std::string options_section(const Runs& runs);

// Charts of stats, one a row.
struct StatChart {
  std::string title, unit;
  std::vector<std::string> stats;  // by name; a second one is dashed
  std::string lines = {};          // what the dashed ones are
};
// Without the first tick, which is one iteration.
std::string charts_of(const Runs& runs, const std::vector<StatChart>& charts);

std::string run_name(const Runs& runs, size_t i);  // its label, with the colour of its curves
std::string kimg_text(double kimg);                // "40 kimg"

}  // namespace firn
