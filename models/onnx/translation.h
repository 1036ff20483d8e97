// From what an observer sees of a network to the nodes of an ONNX graph. The engine's images have their channels last,
// those of a file first. No node moves them: a value only says in which order its axes lie in the file, and nodes are
// written for that. What depends on no input is not written; its value is, where another node takes it.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "engine/observer.h"
#include "engine/ops.h"
#include "io/onnx.h"

namespace firn::onnx {

// Stands for the batch in shapes: a prime that no size is a multiple of.
inline constexpr int64_t batch = 1'000'003;
inline bool of_batch(int64_t size) { return size > 0 && size % batch == 0; }
bool of_batch(const Shape& shape);

// What is seen of a run with two images; one with three then tells which sizes are those of the batch.
class Shapes : public Observer {
 public:
  struct Seen {
    std::string op;
    std::vector<Shape> inputs;
    Shape output;
  };
  void saw(const Op& op, const std::vector<Tensor>& inputs, const Tensor& output) override;
  std::vector<Seen> all;
};
inline constexpr int64_t images_of_shapes = 2, images_of_translation = 3;

struct Value {
  Shape shape{};             // as the engine has it, but for the batch
  std::string name{};        // in the file; empty: a constant
  std::vector<int> order{};  // the axes as they lie there
  Tensor constant{};         // of another shape than `shape` where all images have the same: its first axis is 1

  bool live() const { return !name.empty(); }
  bool repeated() const { return constant.defined() && of_batch(shape); }
  int rank() const { return static_cast<int>(shape.size()); }
  int place(int axis) const;  // of an axis, in the file
};
std::vector<int> as_it_is(size_t rank);
inline const std::vector<int> channels_first = {0, 3, 1, 2};

class Translation : public Observer {
 public:
  explicit Translation(const Shapes& shapes) : shapes_(shapes) {}
  void input(const Tensor& t, const std::string& name, OnnxType type = OnnxType::f32);
  void name(const Tensor& constant, const std::string& name);  // in the file
  void saw(const Op& op, const std::vector<Tensor>& inputs, const Tensor& output) override;
  Value value_of(const Tensor& t, const Shape& shape) const;
  Value value_of(const Tensor& t) const;  // that has been seen, or else a constant
  // The graph, without what no output needs.
  OnnxGraph finish(const std::string& name, const std::string& output, const Value& value, OnnxType type);

  // --- for those who write nodes
  // A node, and the value that it makes.
  Value node(const std::string& op, std::vector<std::string> inputs, Shape shape, std::vector<int> order,
             std::vector<std::pair<std::string, OnnxAttribute>> attributes = {});
  // Names of v in the file, its axes in this order, or of v where that does not matter.
  std::string laid(const Value& v, const std::vector<int>& order);
  std::string stored(const Tensor& values, const std::string& name = "constant");
  std::string name_of(const Tensor& constant) const;  // what it was called
  std::string integers(const std::vector<int64_t>& values);
  // Operands broadcast as those of the engine.
  Value pointwise(const std::string& op, const std::vector<Value>& operands, const Shape& shape);
  Value reshaped(const Value& v, const Shape& shape);
  Value times(const Value& v, double k);
  Value plus(const Value& v, double k);
  Value filled(const Value& v);  // with an image for each of the batch

  // gather(table, index), of values whose rows were picked from a constant
  struct Picked {
    Tensor table;
    std::string index;
  };
  std::map<std::string, Picked> picked;  // by the name of a value

 private:
  struct Key {
    std::weak_ptr<const void> memory;
    Shape shape;
    bool operator<(const Key& other) const {
      if (memory.owner_before(other.memory) || other.memory.owner_before(memory))
        return memory.owner_before(other.memory);
      return shape < other.shape;
    }
  };
  static Key key(const Tensor& t) { return {t.identity(), t.shape()}; }
  std::string fresh(const std::string& wish);
  std::string stored(StoredTensor tensor, const std::string& name);

  const Shapes& shapes_;
  size_t next_ = 0;
  OnnxGraph graph_;
  std::map<Key, Value> seen_;
  std::map<Key, std::string> called_;
  std::map<std::string, std::string> reshaped_from_;
  std::map<std::string, std::string> small_;  // constants, by name, type, shape and values
  std::map<std::string, int> taken_;
  std::string batch_size_;
};

// One op of the engine as nodes.
struct Call {
  Translation& to;
  const Op& op;
  const std::vector<Value>& in;
  const Tensor& output;
  const Shape& shape;  // of the output
};
using Translator = Value (*)(const Call&);
Translator translator_of(const std::string& op);  // null: there is none

}  // namespace firn::onnx
