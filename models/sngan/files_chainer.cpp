// Chainer's sngan_projection: a file for each network, with '/' between names. Class-conditional scales and shifts are
// embeddings.
#include "models/published.h"
#include "models/sngan/files.h"

namespace firn {
namespace {

bool of_g(const SafetensorsFile& file) { return file.contains("l1/W") && file.contains("block2/c1/W"); }
bool of_d(const SafetensorsFile& file) { return file.contains("block1/c1/W") && !file.contains("l1/W"); }

std::string name_of(std::string name) {
  constexpr const char* ends[][2] = {
      {"/gammas/W", "/gamma"}, {"/betas/W", "/beta"}, {"/W", "/weight"}, {"/b", "/bias"}};
  if (name.ends_with("/N")) return {};  // how many batches the averages are of
  for (const std::string_view wrong : {"updater/", "model:main/"})
    if (name.starts_with(wrong)) return {};
  for (const auto& [theirs, ours] : ends)
    if (name.ends_with(theirs)) {
      name.replace(name.size() - std::string_view(theirs).size(), name.npos, ours);
      break;
    }
  for (char& c : name)
    if (c == '/') c = '.';
  return name;
}

void rename_all(SafetensorsFile& file) {
  const std::string prefix = of_g(file) ? "G." : "D.";
  rename(file, [&](const std::string& name) {
    const std::string own = name_of(name);
    return own.empty() ? own : prefix + own;
  });
  for (auto& [name, t] : file.tensors)  // u [1,O]
    if (name.ends_with(".u") && t.shape.size() == 2 && t.shape[0] == 1) t.shape.erase(t.shape.begin());
}

}  // namespace

FileFormat chainer_names() {
  return {.title = "pfnet-research/sngan_projection",
          .recognise = [](const SafetensorsFile& file) { return of_g(file) || of_d(file); },
          .rename = rename_all,
          .tell = FileFormat::by_default};
}

}  // namespace firn
