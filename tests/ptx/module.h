// PTX as nvcc writes it, parsed: the functions of one module in one array of instructions.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace firn::ptx {

class Warp;

enum class Space : uint8_t { generic, global, constant, shared, local, param };

struct Operand {
  enum class Kind : uint8_t { none, reg, immediate, special, list };
  Kind kind = Kind::none;
  int reg = -1;               // of `reg` or `special`
  uint64_t value = 0;         // of `immediate`
  int64_t offset = 0;         // added to an address
  std::vector<Operand> list;  // {a, b, c, d}
};

// Executes one instruction for the lanes of a mask.
using Step = std::function<void(Warp&, uint32_t lanes)>;

struct Instruction {
  enum class Flow : uint8_t { next, branch, call, leave, block_barrier, warp_wide };
  std::string mnemonic;  // as written: "ld.global.v4.f32"
  std::vector<Operand> operands;
  int guard = -1;  // predicate register
  bool guard_negated = false;
  Flow flow = Flow::next;
  int target = -1;                             // of a branch; the first instruction of a called function
  int member_mask = -1;                        // warp-wide: the operand that names the lanes; -1: all lanes of the warp
  std::vector<std::pair<int, int>> arguments;  // call: offsets (from, to) of parameters, results the other way round
  std::vector<int> argument_bytes;
  size_t results = 0;  // the first so many arguments are results
  int line = 0;        // of the PTX
  int place = 0;       // index into Module::places
  Step step;
};

struct Function {
  std::string name;
  int first = 0, last = 0;  // instructions
  std::vector<int> parameter_offsets, parameter_bytes;
  int launch_bytes = 0;                                    // of an entry's parameters
  uint64_t shared_bytes = 0, packed_shared_bytes = 0;      // with gaps that make overruns visible; as nvcc has them
  std::vector<std::pair<uint64_t, uint64_t>> shared_gaps;  // [begin, end) that belong to no variable
  int registers = 0;                                       // its own are the last of so many
  bool is_entry = false;
  uint64_t most_threads = 0, blocks_at_once = 1;  // its launch bounds; 0: it has none
  // The most that the assembler may give a thread, in the units in which they are given: without bounds 255.
  uint64_t thread_registers() const;
};

inline constexpr uint64_t kRegisterFile = 65536;  // of a multiprocessor

struct Variable {
  Space space = Space::global;
  uint64_t address = 0;  // offset in its space; for global and constant, that of `bytes`
  std::shared_ptr<std::vector<std::byte>> bytes;
};

struct Module {
  std::vector<Instruction> code;
  std::map<std::string, Function> functions;
  std::map<std::string, Variable> variables;      // of the module; those of a function carry its name in front
  std::vector<std::string> places{"?"};           // file:line of the source
  int called_registers = 0;                       // of all functions that an entry may call: nothing recurses
  uint64_t local_bytes = 0, parameter_bytes = 0;  // of a thread
  uint64_t dynamic_alignment = 1;                 // of the shared memory that a launch adds
};

// Parameter addresses from here on are those of the launch; below are those of calls, which every lane has for itself.
inline constexpr uint64_t kLaunchParameters = uint64_t{1} << 40;

// Special registers, in the order of Operand::reg.
inline constexpr std::string_view kSpecialRegisters[] = {
    "%tid.x",  "%tid.y",    "%tid.z",    "%ctaid.x",  "%ctaid.y", "%ctaid.z", "%ntid.x",        "%ntid.y",
    "%ntid.z", "%nctaid.x", "%nctaid.y", "%nctaid.z", "%laneid",  "%warpid",  "%dynamic_shared"};

// Throws Error naming the line for anything that this interpreter does not know.
std::unique_ptr<Module> parse(std::string_view text);

// Gives an instruction its step; throws Error for a form that is not in the table.
void bind(Instruction& instruction);

}  // namespace firn::ptx
