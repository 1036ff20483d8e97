#include "io/film.h"

#include <csignal>
#include <cstdlib>

#include "tests/io/io_support.h"

namespace firn {
namespace {

namespace fs = std::filesystem;

// $PATH for as long as it lives, and in it a program called ffmpeg, if there is a text of it.
class Path {
 public:
  Path(const Scratch& dir, const std::string& ffmpeg) : before_(std::getenv("PATH")) {
    if (!ffmpeg.empty()) {
      put(dir / "bin/ffmpeg", "#!/bin/sh\n" + ffmpeg);
      fs::permissions(dir / "bin/ffmpeg", fs::perms::owner_all);
    }
    ::setenv("PATH", (dir / "bin").c_str(), 1);
    ::signal(SIGPIPE, SIG_IGN);  // as tools do
  }
  ~Path() { ::setenv("PATH", before_.c_str(), 1); }

 private:
  std::string before_;
};

TEST(Film, FfmpegGetsTheFramesAndItsFileAppearsAtTheEnd) {
  const Scratch dir;
  // The name of the film is the last argument; /bin/cat is not in this $PATH.
  const Path path(dir,
                  "for last; do :; done; echo \"$@\" > " + (dir / "said").string() + "; exec /bin/cat > \"$last\"\n");
  EXPECT_TRUE(Film::has_ffmpeg());
  const Image a = pattern(5, 3, 3, 1), b = pattern(5, 3, 3, 2);
  {
    Film film(dir / "out.mp4", 24);
    film.add(a);
    film.add(b);
    EXPECT_FALSE(fs::exists(dir / "out.mp4"));
    EXPECT_EQ(film.finish(), dir / "out.mp4");
  }
  std::vector<uint8_t> both = a.pixels;
  both.insert(both.end(), b.pixels.begin(), b.pixels.end());
  const std::string written = read_text(dir / "out.mp4");
  EXPECT_EQ(std::vector<uint8_t>(written.begin(), written.end()), both);
  const std::string arguments = read_text(dir / "said");
  EXPECT_MENTIONS(arguments, "-pix_fmt rgb24 -s 5x3 -r 24 -i -");

  Film grey(dir / "grey.mp4", 24);
  grey.add(pattern(4, 4, 1));
  EXPECT_THROW(grey.add(pattern(4, 5, 1)), ShapeError);
  grey.finish();
  EXPECT_EQ(fs::file_size(dir / "grey.mp4"), 48u);
}

TEST(Film, AFilmThatIsNotFinishedLeavesNothing) {
  const Scratch dir;
  const Path path(dir, "for last; do :; done; exec /bin/cat > \"$last\"\n");
  { Film(dir / "a.mp4", 24).add(pattern(5, 3, 3)); }
  EXPECT_EQ(dir.count(), 1u);  // bin
}

TEST(Film, WhatFfmpegSaysIsTheError) {
  const Scratch dir;
  const Path path(dir, "echo warning >&2; echo no such codec >&2; exit 3\n");
  Film film(dir / "a.mp4", 24);
  const std::string message = message_of([&] {
    for (int i = 0; i < 100; ++i) film.add(pattern(64, 64, 3));  // more than a pipe holds
    film.finish();
  });
  EXPECT_EQ(message, "ffmpeg made no film: no such codec");
  EXPECT_FALSE(fs::exists(dir / "a.mp4"));
}

TEST(Film, FramesOfAnotherFilmGo) {
  const Scratch dir;
  const Path path(dir, "");
  for (const int frames : {3, 1}) {
    Film film(dir / "out.mp4", 24);
    for (int i = 0; i < frames; ++i) film.add(pattern(4, 4, 3));
    film.finish();
    EXPECT_EQ(std::distance(fs::directory_iterator(dir / "out"), {}), frames);
  }
}

TEST(Film, AnEmptyFilmIsNone) {
  const Scratch dir;
  const Path path(dir, "exec /bin/cat > /dev/null\n");
  Film film(dir / "out.mp4", 24);
  film.add(pattern(4, 4, 3));
  EXPECT_THROW(film.finish(), IoError);
  EXPECT_FALSE(fs::exists(dir / "out.mp4"));
}

TEST(Film, WithoutFfmpegThereAreFrames) {
  const Scratch dir;
  const Path path(dir, "");
  EXPECT_FALSE(Film::has_ffmpeg());
  Film film(dir / "a.mp4", 24);
  for (int i = 0; i < 2; ++i) film.add(pattern(5, 3, 3, i));
  EXPECT_EQ(film.finish(), dir / "a");
  EXPECT_EQ(load_image(dir / "a/frame00001.png"), pattern(5, 3, 3, 1));
  EXPECT_MENTIONS(message_of<ConfigError>([&] { Film(dir / "a.avi", 24); }), "ends in .mp4");
}

}  // namespace
}  // namespace firn
