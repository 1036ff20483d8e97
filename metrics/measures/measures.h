// The metrics, each in a file of its own; the table is metrics() in metric.cpp.
#pragma once
#include "metrics/metric.h"

namespace firn {

Metric fid();
Metric class_fid();
Metric kid();
Metric inception_score();
Metric precision_recall();
Metric prdc();
Metric mind();
Metric mifid();
Metric path_length();
Metric cropped_path_length();
Metric lpips_diversity();
Metric intra();
Metric swd();

}  // namespace firn
