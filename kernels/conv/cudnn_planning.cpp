// kernels/conv/planning.h for cuDNN.
#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <thread>

#include "kernels/choice/cudnn_planner.h"
#include "kernels/choice/provider_cuda.h"
#include "kernels/choice/provider_numerics.h"
#include "kernels/conv/conv_cudnn.h"
#include "kernels/conv/planning.h"
#include "kernels/core/cuda_check.h"

namespace firn::kernels {

namespace cudnn {

namespace {

constexpr int kMostRestoring = 4;  // threads: a handle for each takes longer than plans

struct Notes {
  std::set<std::string> names;
  std::vector<Operation> operations;
};
Notes& notes() {
  static Notes n;  // like all launches, from one thread
  return n;
}

// Calls work(i, thread) for i below n, on at most `threads` threads; what it throws is thrown here.
template <class Work>
void in_parallel(size_t n, int threads, const Work& work) {
  std::atomic<size_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto run = [&](size_t thread) {
    try {
      for (size_t i = next++; i < n; i = next++) work(i, thread);
    } catch (...) {
      next = n;
      const std::lock_guard lock(mutex);
      failure = std::current_exception();
    }
  };
  std::vector<std::jthread> others;  // joined, too, when one more cannot be started
  for (size_t t = 1; t < std::min(n, static_cast<size_t>(threads)); ++t) others.emplace_back(run, t);
  run(0);
  others.clear();
  if (failure) std::rethrow_exception(failure);
}

// A GPU for threads that plan, which must each make it theirs. A handle serves one thread at a time; plans
// may refer to theirs, so they stay.
class Workers {
 public:
  Workers(const Stream& gpu, int threads) : gpu_(gpu) {
    static std::map<int, std::deque<cudnnHandle_t>> all;
    handles_ = &all[gpu.device];
    if (handles_->size() < static_cast<size_t>(threads)) handles_->resize(static_cast<size_t>(threads));
  }
  Target target(size_t thread) const {  // of this thread
    current(gpu_);
    cudnnHandle_t& handle = (*handles_)[thread];
    if (!handle) check(cudnnCreate(&handle));
    return Target::device(handle);
  }

 private:
  Stream gpu_;
  std::deque<cudnnHandle_t>* handles_;
};

// With `own` the target, of a thread, is the GPU itself.
PlanCount plan_missing(std::span<const Operation> operations, const std::function<Target(size_t thread)>& target,
                       const std::string& gpu, bool own, int threads,
                       const std::function<void(const PlanCount&)>& progress) {
  std::vector<std::pair<const Operation*, std::string>> missing;
  for (const Operation& o : operations)
    if (std::string key = key_of(o, gpu); own ? !plan_store().has_proposals(key) : !plan_store().has_plans(key))
      missing.emplace_back(&o, std::move(key));
  PlanCount count{.operations = int64_t(operations.size()), .missing = int64_t(missing.size())};
  std::mutex mutex;
  in_parallel(missing.size(), threads, [&](size_t i, size_t thread) {
    Proposals proposals(*missing[i].first, target(thread), missing[i].second);
    const bool any = proposals.prepare_all();
    if (!proposals.store(own) && !own)
      throw IoError(fmt::format("plans cannot be written to {}; XDG_CACHE_HOME names another place",
                                (cache_folder() / "plans").string()));
    const std::lock_guard lock(mutex);
    ++count.done;
    count.unplanned += !any;
    if (progress) progress(count);
  });
  return count;
}

// What was chosen before.
void restore_chosen(std::span<const Operation> operations, const Workers& workers, const std::string& gpu,
                    bool deterministic, int threads) {
  in_parallel(operations.size(), threads, [&](size_t i, size_t thread) {
    const std::string key = key_of(operations[i], gpu);
    const auto choice = deterministic ? std::nullopt : choice_cache().find(key);
    if (!choice && !deterministic) return;
    restore_ahead(operations[i], workers.target(thread), key, choice ? std::optional(choice->name) : std::nullopt);
  });
}

void restore_longest(std::span<const Operation> operations, const Target& target, const std::string& gpu, int threads) {
  in_parallel(operations.size(), threads, [&](size_t i, size_t) {
    const StoredPlans stored = plan_store().find(key_of(operations[i], gpu));
    const auto longest = std::ranges::max_element(stored.plans, {}, [](const auto& p) { return p.second.size(); });
    if (longest == stored.plans.end()) return;
    try {
      Plan(longest->second, operations[i].graph, target);
    } catch (const DeviceError& e) {
      throw DeviceError(fmt::format("a stored plan of {} is none any more; delete {} and plan again: {}",
                                    operations[i].name, (cache_folder() / "plans").string(), e.what()));
    }
  });
}

}  // namespace

void use_no_driver() {
  const std::filesystem::path library =
      std::filesystem::read_symlink("/proc/self/exe").parent_path() / "libfirn_no_driver.so";
  if (!dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL))
    throw DeviceError(fmt::format("what is needed to plan without a GPU is not beside this program: {}", dlerror()));
}

std::vector<Operation> take_noted() { return std::exchange(notes(), {}).operations; }

void note(Operation o) {
  if (notes().names.insert(o.name).second) notes().operations.push_back(std::move(o));
}

}  // namespace cudnn

std::string describe_gpu(const Stream& gpu) { return cudnn::description(gpu); }

PlanCount plan_noted(const Stream& gpu, int threads, const std::function<void(const PlanCount&)>& progress) {
  const auto operations = cudnn::take_noted();
  const std::string name = device_name(gpu);
  const cudnn::Workers workers(gpu, threads);
  const auto target = [&](size_t thread) { return workers.target(thread); };
  const PlanCount count = cudnn::plan_missing(operations, target, name, true, threads, progress);
  cudnn::restore_chosen(operations, workers, name, numerics(gpu).deterministic,
                        std::min(threads, cudnn::kMostRestoring));
  return count;
}

PlanCount plan_noted(const std::string& description, int threads,
                     const std::function<void(const PlanCount&)>& progress) {
  const nlohmann::json d = nlohmann::json::parse(description, nullptr, false);
  const auto name = d.is_object() ? d.value("deviceName", nlohmann::json()) : nlohmann::json();
  const auto version = d.is_object() ? d.value("deviceVer", nlohmann::json()) : nlohmann::json();
  // cuDNN copies the name to where 256 bytes are, whatever its length.
  if (!name.is_string() || name.get_ref<const std::string&>().size() > 255 || !version.is_number_integer())
    throw DeviceError("this describes no GPU: expected cuDNN's JSON, with deviceName and deviceVer");
  if (cache_folder().empty())
    throw IoError("there is no place for the plans: neither HOME nor XDG_CACHE_HOME names a folder");
  cudnn::use_no_driver();
  const cudnn::Target target = [&] {
    try {
      return cudnn::Target::described(description);
    } catch (const DeviceError& e) {
      throw DeviceError(fmt::format("this describes no GPU that cuDNN knows: {}", e.what()));
    }
  }();
  const std::string gpu = fmt::format("{} sm_{}", name.get<std::string>(), version.get<int>() / 10);
  const auto operations = cudnn::take_noted();
  PlanCount count = cudnn::plan_missing(
      operations, [&](size_t) { return target; }, gpu, false, threads, progress);
  const auto begin = std::chrono::steady_clock::now();
  cudnn::restore_longest(operations, target, gpu, threads);
  count.restoring_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return count;
}

}  // namespace firn::kernels
