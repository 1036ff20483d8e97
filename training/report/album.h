// The pictures of a page: data URIs that together stay below a limit.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "training/report/run_record.h"

namespace firn {

struct Picture {
  int width = 0, height = 0;
  std::string uri;
  bool whole = true;  // false: its first images or, where it has none, a smaller copy
};

struct Frame {
  Picture picture;
  double kimg = 0;
};

struct RunPictures {
  std::vector<Frame> frames;  // kimg rising
  size_t left_out = 0;        // sheets that are only in the folder
  std::optional<Picture> reals, neighbours;
};

// Bytes of PNG in all; a page has a third more.
constexpr int64_t kAlbumBytes = 14'000'000;

// Of runs with too many sheets evenly spread ones, the first and the last among them; of large sheets the first
// columns and rows. Pictures that are none are left out, with a remark of their run.
std::vector<RunPictures> album_of(std::vector<RunRecord>& runs, int64_t bytes = kAlbumBytes);

}  // namespace firn
