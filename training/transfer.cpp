// Starting from another run's weights: copy what fits, say what does not.
#include <set>

#include "io/files.h"
#include "kernels/error.h"
#include "models/weights.h"
#include "training/snapshot.h"

namespace firn {
namespace {

bool has_network(const SafetensorsFile& file, const std::string& prefix) {
  const auto it = file.tensors.lower_bound(prefix + ".");
  return it != file.tensors.end() && it->first.starts_with(prefix + ".");
}

TransferReport::Network transfer_network(const Parameters& parameters, const SafetensorsFile& file,
                                         const std::string& name, const std::string& source) {
  TransferReport::Network report{.name = name, .source = source};
  for (const Parameter& p : parameters) {
    const auto it = file.tensors.find(source + "." + p.name());
    if (it == file.tensors.end()) {
      report.fresh.emplace_back(p.name(), "not in the file");
    } else if (it->second.shape != file_shape(p)) {
      const std::string reason =
          fmt::format("{} in the file, {} here", to_string(it->second.shape), to_string(file_shape(p)));
      report.fresh.emplace_back(p.name(), reason);
      report.skipped.emplace_back(p.name(), reason);
    } else {
      load(p, file, it->first);
      ++report.copied;
    }
  }
  for (auto it = file.tensors.lower_bound(source + ".");
       it != file.tensors.end() && it->first.starts_with(source + "."); ++it) {
    const std::string inner = it->first.substr(source.size() + 1);
    if (!inner.ends_with(".resample_filter") && !parameters.find(inner))
      report.skipped.emplace_back(inner, "not in this network");
  }
  return report;
}

}  // namespace

TransferReport transfer(TrainState& s, const SafetensorsFile& file) {
  const std::string g = has_network(file, "G") ? "G" : "G_ema", ema = has_network(file, "G_ema") ? "G_ema" : "G";
  TransferReport report;
  report.networks.push_back(transfer_network(s.g.parameters(), file, "G", g));
  report.networks.push_back(transfer_network(s.d.parameters(), file, "D", "D"));
  update_average(s.ema.parameters(), s.g.parameters(), 0);  // what the file lacks starts equal to G
  report.networks.push_back(transfer_network(s.ema.parameters(), file, "G_ema", ema));
  if (report.networks[0].copied + report.networks[1].copied == 0)
    throw IoError(fmt::format("{}: no tensor of G or D fits this model by name and shape", file.name));
  return report;
}

std::string to_string(const TransferReport& report) {
  constexpr size_t shown = 12;
  std::string text;
  const auto list = [&](const char* what, const auto& entries) {
    for (size_t i = 0; i < std::min(entries.size(), shown); ++i)
      text += fmt::format("  {:<18} {}: {}\n", what, printable(entries[i].first), entries[i].second);
    if (entries.size() > shown) text += fmt::format("  {:<18} and {} more\n", what, entries.size() - shown);
  };
  for (const auto& n : report.networks) {
    text += fmt::format("{:<6} from {:<6} {} copied, {} skipped, {} newly initialised\n", n.name, n.source, n.copied,
                        n.skipped.size(), n.fresh.size());
    list("skipped", n.skipped);
    list("newly initialised", n.fresh);
  }
  return text;
}

}  // namespace firn
