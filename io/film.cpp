#include "io/film.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "io/files.h"

namespace firn {
namespace fs = std::filesystem;
namespace {

std::string ffmpeg() {  // empty: not installed
  const char* const path = std::getenv("PATH");
  for (const std::string& folder : parts_of(path ? path : "", ':'))
    if (const fs::path file = fs::path(folder) / "ffmpeg"; ::access(file.c_str(), X_OK) == 0) return file;
  return {};
}

struct CloseFile {
  void operator()(std::FILE* f) const { std::fclose(f); }
};

}  // namespace

// ffmpeg in a process of its own, without a shell: frames go to its standard input, what it says into a file without a
// name. It ends when its input does, so it outlives a Ctrl-C, whose signal is blocked where it is started, and no more.
struct Film::Encoder {
  TemporaryName file;
  std::unique_ptr<std::FILE, CloseFile> said{std::tmpfile()};
  int in = -1;
  pid_t child = -1;

  Encoder(const fs::path& path, const std::string& program, int width, int height, int rate)
      : file(path, [](const fs::path& name) { AppendFile(name, AppendFile::Start::empty); }) {
    int ends[2];
    if (!said || ::pipe2(ends, O_CLOEXEC) != 0) fail_to_start(errno);
    // Players want even sizes and chroma of half their resolution.
    std::vector<std::string> words{program,
                                   "-loglevel",
                                   "error",
                                   "-y",
                                   "-f",
                                   "rawvideo",
                                   "-pix_fmt",
                                   "rgb24",
                                   "-s",
                                   fmt::format("{}x{}", width, height),
                                   "-r",
                                   std::to_string(rate),
                                   "-i",
                                   "-",
                                   "-vf",
                                   "pad=ceil(iw/2)*2:ceil(ih/2)*2",
                                   "-pix_fmt",
                                   "yuv420p",
                                   "-f",
                                   "mp4",
                                   file.name().string()};
    std::vector<char*> arguments;
    for (std::string& w : words) arguments.push_back(w.data());
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ::fileno(said.get()), STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ::fileno(said.get()), STDERR_FILENO);
    const int error = ::posix_spawn(&child, program.c_str(), &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[0]);
    if (error == 0) {
      in = ends[1];
    } else {
      ::close(ends[1]);
      fail_to_start(error);
    }
  }
  ~Encoder() {
    if (in >= 0) wait();
  }
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  void write(const std::vector<uint8_t>& bytes) {
    for (size_t done = 0; done < bytes.size();) {
      const ssize_t n = ::write(in, bytes.data() + done, bytes.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) wait(), fail();
      done += size_t(n);
    }
  }

  void finish() {
    std::error_code none;
    if (const int status = wait();
        !WIFEXITED(status) || WEXITSTATUS(status) != 0 || fs::file_size(file.name(), none) == 0)
      fail();
    file.commit();
  }

 private:
  [[noreturn]] static void fail_to_start(int error) {
    throw SystemError(fmt::format("cannot start ffmpeg: {}", std::strerror(error)));
  }
  [[noreturn]] void fail() {
    std::string text(2000, '\0');
    std::rewind(said.get());
    text.resize(std::fread(text.data(), 1, text.size(), said.get()));
    const std::vector<std::string> lines = parts_of(text, '\n');
    throw IoError(fmt::format("ffmpeg made no film: {}", lines.empty() ? "it says nothing" : printable(lines.back())));
  }
  int wait() {
    ::close(std::exchange(in, -1));
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
  }
};

Film::Film(fs::path path, int frames_a_second) : path_(std::move(path)), rate_(frames_a_second) {
  if (lower_case(path_.extension().string()) != ".mp4")
    throw ConfigError(fmt::format("{}: films are written as MP4; give a name that ends in .mp4", path_.string()));
}
Film::~Film() = default;

bool Film::has_ffmpeg() { return !ffmpeg().empty(); }

fs::path Film::folder() const { return fs::path(path_).replace_extension(); }

void Film::start(const Image& first) {
  width_ = first.width, height_ = first.height;
  if (const std::string program = ffmpeg(); !program.empty())
    encoder_ = std::make_unique<Encoder>(path_, program, width_, height_, rate_);
  else
    make_folder();
}

// Without the frames of a film that was there before.
void Film::make_folder() const {
  make_directories(folder());
  std::error_code error;
  for (const fs::path& file : entries_of(folder(), error))
    if (const std::string name = file.filename(); name.starts_with("frame") && name.ends_with(".png"))
      fs::remove(file, error);
}

void Film::add(const Image& frame) {
  if (frames_ == 0) start(frame);
  if (frame.width != width_ || frame.height != height_)
    throw ShapeError(fmt::format("a frame of {}x{} in a film of {}x{}", frame.width, frame.height, width_, height_));
  if (encoder_)
    encoder_->write(to_channels(frame, 3).pixels);
  else
    save_png(folder() / fmt::format("frame{:05}.png", frames_), frame);
  ++frames_;
}

fs::path Film::finish() {
  if (!encoder_) return folder();
  encoder_->finish();
  encoder_.reset();
  return path_;
}

}  // namespace firn
