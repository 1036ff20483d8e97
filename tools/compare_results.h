// What a comparison found: tables as papers have them, curves, a sheet of samples.
#pragma once
#include <optional>

#include "metrics/metric.h"
#include "tools/compare_plan.h"

namespace firn::tools {

struct MeanOfSeeds {
  double mean = 0, deviation = 0;  // of a sample; 0 for one seed
  int seeds = 0;
};
MeanOfSeeds mean_of_seeds(const std::vector<double>& values);
std::string to_text(const MeanOfSeeds& m, const char* plus_minus);  // with as many digits as tell something

// Best and final of one score of a method on a target, over the seeds that have them.
struct Cell {
  std::vector<double> best, final;
};

struct Results {
  struct Line {
    size_t target, method;
    int64_t seed;
    std::string score;
    Better better;
    double best, best_kimg, final;
  };
  std::vector<Line> lines;  // one a run and score that is better or worse
  std::vector<std::string> scores(size_t target) const;
  Better better(const std::string& score) const;
  Cell cell(size_t target, size_t method, const std::string& score) const;
};

// Of the runs in `folder`, finished or not.
Results results_of(const ComparePlan& plan, const std::filesystem::path& folder);

std::string markdown(const ComparePlan& plan, const Results& results);
std::string csv(const ComparePlan& plan, const Results& results);
std::string latex(const ComparePlan& plan, const Results& results);

// curves-TARGET-SCORE.svg, means of seeds; samples-TARGET.png, a row a method from the same latents (the best snapshot
// of the first seed). Names of what was written.
std::vector<std::filesystem::path> write_curves(const ComparePlan& plan, const std::filesystem::path& folder);
std::vector<std::filesystem::path> write_samples(const ComparePlan& plan, const std::filesystem::path& folder);

}  // namespace firn::tools
