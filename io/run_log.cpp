#include "io/run_log.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/event.pb.h"

namespace firn {
namespace fs = std::filesystem;
namespace {

// CRC-32C (Castagnoli), reflected polynomial 0x82f63b78.
uint32_t crc32c(std::string_view bytes) {
  static const auto table = [] {
    std::array<uint32_t, 256> t{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t c = i;
      for (int bit = 0; bit < 8; ++bit) c = c >> 1 ^ (c & 1 ? 0x82f63b78u : 0);
      t[i] = c;
    }
    return t;
  }();
  uint32_t crc = ~0u;
  for (char b : bytes) crc = table[(crc ^ uint8_t(b)) & 0xff] ^ crc >> 8;
  return ~crc;
}

template <class T>
std::string raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

// A TFRecord: length, masked checksum of the length, data, masked checksum of the data.
std::string framed(std::string_view data) {
  const auto masked = [](std::string_view bytes) {
    const uint32_t crc = crc32c(bytes);
    return raw(uint32_t((crc >> 15 | crc << 17) + 0xa282ead8u));
  };
  const std::string length = raw(uint64_t(data.size()));
  return length + masked(length) + std::string(data) + masked(data);
}

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

fs::path event_file_name() {
  static std::atomic<int> counter{0};
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) std::strcpy(host.data(), "localhost");
  return fmt::format("events.out.tfevents.{}.{}.{}.{}", int64_t(now()), host.data(), ::getpid(), counter++);
}

// The last line may have been torn by a kill.
void cut_torn_line(const fs::path& path) {
  if (!fs::exists(path)) return;
  const std::string text = read_text(path);
  const size_t end = text.find_last_of('\n') + 1;  // 0 when there is none
  std::error_code error;
  if (end < text.size()) fs::resize_file(path, end, error);
  if (error) throw IoError(fmt::format("cannot write {}: {}", path.string(), error.message()));
}

fs::path ready(const fs::path& path, AppendFile::Start start) {
  make_directories(path.parent_path());
  if (start == AppendFile::Start::append) cut_torn_line(path);
  return path;
}

}  // namespace

EventFile::EventFile(const fs::path& dir) : path_(dir / event_file_name()), file_(path_, AppendFile::Start::empty) {
  proto::Event event;
  event.set_file_version("brain.Event:2");
  append(event);
}

void EventFile::append(proto::Event& event) {
  event.set_wall_time(now());
  file_.write(framed(event.SerializeAsString()));
}

void EventFile::restart(int64_t step) {
  proto::Event event;
  event.set_step(step);
  event.mutable_session_log()->set_status(proto::SessionLog::START);
  append(event);
}

void EventFile::scalar(std::string_view tag, float value, int64_t step) {
  proto::Event event;
  event.set_step(step);
  auto* entry = event.mutable_summary()->add_value();
  entry->set_tag(std::string(tag));
  entry->set_simple_value(value);
  append(event);
}

void EventFile::image(std::string_view tag, const Image& image, int64_t step) {
  proto::Event event;
  event.set_step(step);
  auto* entry = event.mutable_summary()->add_value();
  entry->set_tag(std::string(tag));
  auto* encoded = entry->mutable_image();
  encoded->set_width(image.width);
  encoded->set_height(image.height);
  encoded->set_colorspace(image.channels);
  const auto png = encode_png(image);
  encoded->set_encoded_image_string(png.data(), png.size());
  append(event);
}

RunLog::RunLog(const fs::path& run_dir, AppendFile::Start start)
    : log_(ready(run_dir / "log.txt", start), start),
      stats_(ready(run_dir / "stats.jsonl", start), start),
      events_(run_dir) {}

void RunLog::text(std::string_view line) { log_.write(std::string(line) + '\n'); }

void RunLog::stats(const nlohmann::json& record) {
  // Invalid UTF-8 is replaced rather than thrown: a log line must not end a run.
  stats_.write(record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + '\n');
}

void RunLog::flush() {
  log_.sync();
  stats_.sync();
  events_.flush();
}

}  // namespace firn
