#include "training/report/album.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/text.h"
#include "io/files.h"
#include "io/images.h"

namespace firn {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kMostOfOne = 1 << 20;  // bytes of one picture
constexpr size_t kMostFrames = 100;      // of a run

struct Box {
  int width, height;
};

Picture picture_of(std::span<const std::byte> png, Box size, bool whole) {
  return {.width = size.width, .height = size.height, .uri = "data:image/png;base64," + base64(png), .whole = whole};
}

Image first_part(const Image& image, Box size) {
  Image part(size.width, size.height, image.channels);
  for (int y = 0; y < size.height; ++y)
    std::copy_n(image.at(0, y), size_t(size.width) * size_t(image.channels), part.at(0, y));
  return part;
}

// Whole images of a sheet within `box`; a sheet of none, or of larger ones, is shrunk.
Image fitted(const Image& image, Box tile, Box box) {
  const auto whole = [](int side, int tile_side, int most) {
    return tile_side > 0 && side % tile_side == 0 ? std::min(side, std::max(1, most / tile_side) * tile_side) : side;
  };
  const Box part = {whole(image.width, tile.width, box.width), whole(image.height, tile.height, box.height)};
  const double scale = std::min({1.0, double(box.width) / part.width, double(box.height) / part.height});
  const Image cut = first_part(image, part);
  return scale == 1
             ? cut
             : center_crop_resize(cut, std::max(1, int(part.width * scale)), std::max(1, int(part.height * scale)));
}

Picture embedded(const fs::path& path, Box tile, int64_t most) {
  const std::vector<std::byte> bytes = read_bytes(path);
  const ImageInfo info = image_info(bytes, path.filename().string());
  if (int64_t(bytes.size()) <= most) return picture_of(bytes, {info.width, info.height}, true);
  const Image image = decode_image(bytes, path.filename().string());
  std::vector<std::byte> png;
  Image part;
  for (Box box = {1280, 960}; png.empty() || (int64_t(png.size()) > most && box.width > 64);
       box = {box.width * 3 / 4, box.height * 3 / 4}) {
    part = fitted(image, tile, box);
    png = encode_png(part);
  }
  return picture_of(png, {part.width, part.height}, false);
}

Box tile_of(const RunRecord& run) {
  const auto side = [&](const char* key) {
    const nlohmann::json::json_pointer pointer(std::string("/model/") + key);
    return run.options.contains(pointer) && run.options[pointer].is_number_integer() ? run.options[pointer].get<int>()
                                                                                     : 0;
  };
  return {side("width"), side("height")};
}

int64_t bytes_of(const fs::path& path, int64_t most) {
  std::error_code none;
  const auto size = fs::file_size(path, none);
  return none ? 0 : std::min(int64_t(size), most);
}

int64_t bytes_of(const std::vector<Sheet>& sheets, int64_t most_of_one = kMostOfOne) {
  return std::accumulate(sheets.begin(), sheets.end(), int64_t{0},
                         [&](int64_t sum, const Sheet& sheet) { return sum + bytes_of(sheet.path, most_of_one); });
}

int64_t bytes_of(const Picture& picture) { return int64_t(picture.uri.size()) * 3 / 4; }

int64_t bytes_of(const RunPictures& pictures) {
  int64_t sum = 0;
  for (const Frame& frame : pictures.frames) sum += bytes_of(frame.picture);
  for (const auto& other : {pictures.reals, pictures.neighbours}) sum += other ? bytes_of(*other) : 0;
  return sum;
}

std::vector<Sheet> evenly_spread(const std::vector<Sheet>& sheets, size_t count) {
  if (sheets.size() <= count) return sheets;
  std::vector<Sheet> chosen;
  for (size_t i = 0; i < count; ++i)
    chosen.push_back(sheets[count == 1 ? sheets.size() - 1 : i * (sheets.size() - 1) / (count - 1)]);
  return chosen;
}

class Embedder {
 public:
  Embedder(RunRecord& run, int64_t bytes) : run_(run), tile_(tile_of(run)), left_(bytes) {
    most_ = std::min(kMostOfOne, bytes / 4);
  }

  RunPictures all() {
    RunPictures pictures;
    pictures.reals = one(run_.reals, tile_);
    pictures.neighbours = one(run_.neighbours, {});
    const std::vector<Sheet> sheets = affordable();
    pictures.left_out = run_.sheets.size() - sheets.size();
    for (const Sheet& sheet : sheets)
      if (auto picture = one(sheet.path, tile_)) pictures.frames.push_back({*std::move(picture), sheet.kimg});
    return pictures;
  }

 private:
  std::vector<Sheet> affordable() const {
    const double mean = double(bytes_of(run_.sheets, most_)) / double(std::max<size_t>(run_.sheets.size(), 1));
    const double count = mean > 0 ? double(left_) / mean : double(kMostFrames);
    return evenly_spread(run_.sheets, size_t(std::clamp(count, 1.0, double(kMostFrames))));
  }

  std::optional<Picture> one(const fs::path& path, Box tile) {
    if (path.empty()) return std::nullopt;
    try {
      Picture picture = embedded(path, tile, most_);
      left_ -= bytes_of(picture);
      return picture;
    } catch (const SystemError&) {
      throw;
    } catch (const IoError& e) {
      run_.remarks.push_back(e.what());
      return std::nullopt;
    }
  }

  RunRecord& run_;
  Box tile_;
  int64_t left_, most_;
};

}  // namespace

// Runs with few pictures leave their share to the others.
std::vector<RunPictures> album_of(std::vector<RunRecord>& runs, int64_t bytes) {
  std::vector<RunPictures> album(runs.size());
  std::vector<size_t> order(runs.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) { return bytes_of(runs[i].sheets); });
  auto runs_left = int64_t(runs.size());
  for (const size_t i : order) {
    album[i] = Embedder(runs[i], bytes / runs_left--).all();
    bytes = std::max<int64_t>(0, bytes - bytes_of(album[i]));
  }
  return album;
}

}  // namespace firn
