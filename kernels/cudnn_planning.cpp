// kernels/planning.h for cuDNN.
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <thread>

#include "kernels/conv_cudnn.h"
#include "kernels/cudnn_planner.h"
#include "kernels/planning.h"
#include "kernels/provider_cuda.h"
#include "kernels/provider_numerics.h"

namespace firn::kernels {

namespace cudnn {

namespace {

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
  std::vector<std::thread> others;
  for (size_t t = 1; t < std::min(n, static_cast<size_t>(threads)); ++t) others.emplace_back(run, t);
  run(0);
  for (std::thread& t : others) t.join();
  if (failure) std::rethrow_exception(failure);
}

// With `own` the target is the GPU itself.
PlanCount plan_missing(std::span<const Operation> operations, const std::function<Target()>& target,
                       const std::string& gpu, bool own, int threads,
                       const std::function<void(const PlanCount&)>& progress) {
  std::vector<std::pair<const Operation*, std::string>> missing;
  for (const Operation& o : operations)
    if (std::string key = key_of(o.name, gpu); own ? !plan_store().has_proposals(key) : !plan_store().has_plans(key))
      missing.emplace_back(&o, std::move(key));
  PlanCount count{.operations = int64_t(operations.size()), .missing = int64_t(missing.size())};
  if (missing.empty()) return count;
  const Target one = target();
  std::mutex mutex;
  in_parallel(missing.size(), threads, [&](size_t i, size_t) {
    Proposals proposals(*missing[i].first, one, missing[i].second);
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

// What was chosen before. A handle serves one thread at a time; plans may refer to theirs, so they stay.
void restore_chosen(std::span<const Operation> operations, const std::string& gpu, int threads) {
  static std::map<int, std::array<cudnnHandle_t, 4>> handles;
  const int device = current_device();
  auto& mine = handles[device];
  in_parallel(operations.size(), std::min(threads, static_cast<int>(mine.size())), [&](size_t i, size_t thread) {
    const std::string key = key_of(operations[i].name, gpu);
    const auto choice = numerics().deterministic ? std::nullopt : choice_cache().find(key);
    if (!choice && !numerics().deterministic) return;
    use_device(device);
    if (!mine[thread]) check(cudnnCreate(&mine[thread]));
    restore_ahead(operations[i], Target::device(mine[thread]), key,
                  choice ? std::optional(choice->name) : std::nullopt);
  });
}

void restore_longest(std::span<const Operation> operations, const Target& target, const std::string& gpu, int threads) {
  in_parallel(operations.size(), threads, [&](size_t i, size_t) {
    const StoredPlans stored = plan_store().find(key_of(operations[i].name, gpu));
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
  const auto target = [&] { return cudnn::Target::described(describe_gpu(gpu)); };
  const std::string name = device_name(gpu);
  const PlanCount count = cudnn::plan_missing(operations, target, name, true, threads, progress);
  cudnn::restore_chosen(operations, name, threads);
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
      operations, [&] { return target; }, gpu, false, threads, progress);
  const auto begin = std::chrono::steady_clock::now();
  cudnn::restore_longest(operations, target, gpu, threads);
  count.restoring_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return count;
}

}  // namespace firn::kernels
