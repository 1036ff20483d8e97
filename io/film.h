// A film, frame by frame: ffmpeg writes it where it is installed; elsewhere its frames become PNGs in a folder.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>

#include "io/images.h"

namespace firn {

class Film {
 public:
  // `path`: NAME.mp4; without ffmpeg NAME/frame00000.png, ... ConfigError for another ending.
  Film(std::filesystem::path path, int frames_a_second);
  ~Film();  // a film that was not finished leaves no file behind; frames stay

  void add(const Image& frame);    // all of one size; IoError with what ffmpeg says
  std::filesystem::path finish();  // the film, or the folder of frames
  static bool has_ffmpeg();        // in $PATH

 private:
  struct Encoder;
  void start(const Image& first);
  std::filesystem::path folder() const;  // of frames
  void make_folder() const;

  std::filesystem::path path_;
  int rate_;
  int64_t frames_ = 0;
  int width_ = 0, height_ = 0;
  std::unique_ptr<Encoder> encoder_;  // null: frames
};

}  // namespace firn
