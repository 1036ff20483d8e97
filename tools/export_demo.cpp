#include <nlohmann/json.hpp>

#include "base/text.h"
#include "io/files.h"
#include "io/markup.h"
#include "tools/export.h"

namespace firn::tools {
namespace {

void replace(std::string& text, std::string_view place, std::string_view by) {
  for (size_t at = 0; (at = text.find(place, at)) != std::string::npos; at += by.size())
    text.replace(at, place.size(), by);
}

}  // namespace

void write_demo(const Export& e, const std::filesystem::path& dir) {
  const Generator& g = *e.loaded.g;
  onnx::Options options = e.options;
  options.psi_by_default = false;  // onnxruntime-web takes no input that may be left out
  const nlohmann::json network = {
      {"z_dim", g.z_dim()}, {"classes", g.classes()}, {"truncation", onnx::takes_psi(g, options)}};
  const std::string model = onnx_bytes(onnx::to_graph(g, options));
  std::string page = demo_page;
  replace(page, "%title%", markup(e.title));
  replace(page, "%network%", network.dump());
  replace(page, "%model%", base64(std::as_bytes(std::span(model))));
  make_directories(dir);
  write_text(dir / "index.html", page);
}

}  // namespace firn::tools
