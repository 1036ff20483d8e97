// A file of torch.save's zip form, whose pickle (protocol 2) is a dict of state dicts: torch.load(weights_only=True)
// takes it.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "io/pytorch_file.h"
#include "io/zip_writer.h"

namespace firn {
namespace {

constexpr const char* storages[][2] = {{"F32", "FloatStorage"},     {"F64", "DoubleStorage"}, {"F16", "HalfStorage"},
                                       {"BF16", "BFloat16Storage"}, {"I64", "LongStorage"},   {"I32", "IntStorage"},
                                       {"U8", "ByteStorage"}};

class Pickler {
 public:
  void dict() { text_ += '}'; }
  void state_dict() { text_ += "ccollections\nOrderedDict\n)R"; }
  void put() { text_ += 's'; }  // key and value, into the dict below them
  void text(std::string_view t) {
    text_ += 'X';
    little(t.size());
    text_ += t;
  }
  void tensor(const StoredTensor& t, const std::string& key, const char* storage) {
    text_ += "ctorch._utils\n_rebuild_tensor_v2\n((";
    text("storage");
    text_ += fmt::format("ctorch\n{}\n", storage);
    text(key);
    text("cpu");
    integer(t.count());
    text_ += "tQ";
    integer(0);
    integers(t.shape);
    std::vector<int64_t> strides(t.shape.size(), 1);
    for (size_t i = strides.size(); i-- > 1;) strides[i - 1] = strides[i] * std::max<int64_t>(1, t.shape[i]);
    integers(strides);
    text_ += '\x89';  // wants no gradient
    state_dict();     // of hooks
    text_ += "tR";
  }
  std::string finished() && { return "\x80\x02" + std::move(text_) + "."; }

 private:
  void little(uint64_t v, int size = 4) {
    for (int i = 0; i < size; ++i) text_ += char(v >> 8 * i & 0xff);
  }
  void integer(int64_t v) {
    text_ += "\x8a\x08";
    little(uint64_t(v), 8);
  }
  void integers(const std::vector<int64_t>& values) {
    text_ += '(';
    for (const int64_t v : values) integer(v);
    text_ += 't';
  }
  std::string text_;
};

}  // namespace

void write_pytorch(const std::filesystem::path& path, const SafetensorsFile& file) {
  Pickler p;
  p.dict();
  for (const auto& [key, value] : file.metadata) {
    p.text(key);
    p.text(value);
    p.put();
  }
  std::vector<const StoredTensor*> data;
  for (auto it = file.tensors.begin(); it != file.tensors.end();) {
    const size_t dot = it->first.find('.');
    const std::string network = it->first.substr(0, dot);
    if (dot == network.npos) throw IoError(fmt::format("{}: {} is of no network", path.string(), printable(network)));
    p.text(network);
    p.state_dict();
    for (; it != file.tensors.end() && it->first.starts_with(network + "."); ++it) {
      const StoredTensor& t = it->second;
      const auto storage = std::ranges::find(storages, t.dtype, [](const auto& row) { return row[0]; });
      if (storage == std::end(storages))
        throw IoError(fmt::format("{}: PyTorch has no {} ({})", path.string(), t.dtype, printable(it->first)));
      p.text(it->first.substr(dot + 1));
      p.tensor(t, fmt::to_string(data.size()), (*storage)[1]);
      p.put();
      data.push_back(&t);
    }
    p.put();
  }
  ZipFile zip(path);
  const std::string root = path.stem().string();
  zip.add(root + "/data.pkl", std::move(p).finished());
  zip.add(root + "/byteorder", "little");
  for (size_t i = 0; i < data.size(); ++i)
    zip.add(fmt::format("{}/data/{}", root, i),
            {reinterpret_cast<const char*>(data[i]->bytes.data()), data[i]->bytes.size()});
  zip.add(root + "/version", "3\n");
  zip.finish();
}

}  // namespace firn
