#include "training/run/console.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>

#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "base/text.h"
#include "engine/communicator.h"

namespace firn {

// A launcher that is about to end its processes reads no more of what they say, and their terminals fill: what it does
// not take is left out. In pieces, each of which has room where there is any.
static bool is_read(int descriptor) {
  if (rank_by_launcher() < 0) return true;
  pollfd one{.fd = descriptor, .events = POLLOUT, .revents = 0};
  return ::poll(&one, 1, 200) != 0;
}

void Console::write(std::string_view text) {
  while (!text.empty()) {
    if (!is_read(STDOUT_FILENO)) return;
    const ssize_t n = ::write(STDOUT_FILENO, text.data(), std::min<size_t>(text.size(), 512));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return complain_once();
    text.remove_prefix(size_t(n));
  }
}

void Console::complain_once() {
  const int reason = errno;
  if (std::exchange(failed_, true)) return;
  const std::string line = fmt::format("cannot write to the console: {}; the run goes on, and {} has every line\n",
                                       std::strerror(reason), (dir_ / "log.txt").string());
  [[maybe_unused]] const ssize_t shown = ::write(STDERR_FILENO, line.data(), line.size());
}

void Console::say(const std::string& line) {
  clear();
  write(line + "\n");
  log_.text(line);
}

void Console::note(const std::exception& e) {
  clear();
  try {
    log_.text(fmt::format("error: {}",
                          dynamic_cast<const std::bad_alloc*>(&e) ? "out of memory" : printable(e.what(), 4000)));
  } catch (const std::exception&) {  // the disk may be full, which is what `e` says
  }
}

void Console::show(const std::string& line) {
  write("\r\033[K" + line);
  open_ = true;
}

void Console::clear() {
  if (std::exchange(open_, false)) write("\r\033[K");
}

}  // namespace firn
