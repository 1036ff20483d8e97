#include "io/file_kind.h"

#include <algorithm>

#include "io/image_kind.h"

namespace firn {
namespace {

constexpr std::string_view bytes(const char* text, size_t count) { return {text, count}; }

// The archives of PyTorch and NumPy are known by what they hold first.
std::string_view zip_kind(std::string_view head) {
  const std::string_view name = head.size() > 30 ? head.substr(30) : std::string_view{};
  if (name.find("/data.pkl") != name.npos || name.find("/.format_version") != name.npos)
    return "a PyTorch file (a zip around a pickle, as .pt, .pth and .ckpt are)";
  if (name.find(".npy") != name.npos) return "a NumPy archive (.npz)";
  return "a zip archive";
}

bool is_text(std::string_view head) {
  return std::ranges::none_of(head, [](unsigned char c) { return c < 9 || (c > 13 && c < 32); });
}

}  // namespace

std::string_view file_kind(std::span<const std::byte> raw) {
  const std::string_view head(reinterpret_cast<const char*>(raw.data()), raw.size());
  if (head.starts_with("PK\3\4") || head.starts_with("PK\5\6")) return zip_kind(head);
  if (head.starts_with("\x80") && head.size() > 1 && head[1] >= 2 && head[1] <= 5)
    return head.find(bytes("l\xfc\x9c\x46\xf9 j\xa8P\x19.", 11)) < 16
               ? "a PyTorch file of the old kind (a pickle, as .pt, .pth and .ckpt were)"
               : "a Python pickle (.pkl)";
  if (head.starts_with("\x89HDF\r\n")) return "an HDF5 file (.h5)";
  if (head.starts_with("\x93NUMPY")) return "a NumPy array (.npy)";
  if (head.starts_with("GGUF")) return "a GGUF file";
  if (head.starts_with("\x1f\x8b")) return "a gzip file";
  if (head.starts_with("BZh") ||
      head.starts_with(bytes("\xfd"
                             "7zXZ",
                             5)) ||
      head.starts_with("7z\xbc\xaf"))
    return "a packed archive";
  if (kind_of(raw) != ImageKind::none) return "an image";
  if (head.starts_with("%PDF")) return "a PDF file";
  if (head.starts_with("\x7f"
                       "ELF"))
    return "a program";
  // ModelProto: ir_version (field 1), then producer_name (2), graph (7) or opset_import (8).
  if (head.size() > 2 && head[0] == 8 && head[1] < 20 && (head[2] == 0x12 || head[2] == 0x3a || head[2] == 0x42))
    return "an ONNX model";
  if (head.starts_with("version https://git-lfs"))
    return "a pointer of Git LFS to a file that was not fetched (`git lfs pull` fetches it)";
  if (!is_text(head)) return {};
  const size_t tag = head.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  if (tag != head.npos && head[tag] == '<') return "a web page or other markup, as a download that went wrong leaves";
  return "text";
}

}  // namespace firn
