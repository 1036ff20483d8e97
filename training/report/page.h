// One self-contained HTML page about one or several runs side by side: nothing is fetched, no server is needed, and
// scripts only move a slider.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "training/report/album.h"

namespace firn {

// `runs` get remarks of pictures that could not be read.
std::string report_page(std::vector<RunRecord> runs);

// IoError where a folder is no run or the page cannot be written; a page that was there is replaced at once.
void write_report(const std::vector<std::filesystem::path>& runs, const std::filesystem::path& page);

}  // namespace firn
