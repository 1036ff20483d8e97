// kernels/planning.h for cuDNN.
#include <dlfcn.h>

#include <atomic>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "kernels/conv_cudnn.h"
#include "kernels/cudnn_planner.h"
#include "kernels/planning.h"
#include "kernels/provider_cuda.h"

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

void plan_one(const Operation& operation, const Target& target, const std::string& key, bool own, PlanCount& count) {
  Proposals proposals(operation, target, key);
  count.unplanned += !proposals.prepare_all();
  proposals.store(own);
}

PlanCount plan_all(const std::string& description, const std::string& gpu, bool own, int threads,
                   const std::function<void(const PlanCount&)>& progress) {
  const std::vector<Operation> operations = std::exchange(notes(), {}).operations;
  std::vector<std::pair<const Operation*, std::string>> missing;
  for (const Operation& o : operations)
    if (std::string key = key_of(o.name, gpu); own ? !plan_store().has_proposals(key) : !plan_store().has_plans(key))
      missing.emplace_back(&o, std::move(key));
  PlanCount count{.operations = int64_t(operations.size()), .missing = int64_t(missing.size())};
  const Target target = Target::described(description);
  std::atomic<size_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    for (size_t i = next++; i < missing.size(); i = next++) {
      PlanCount mine;
      try {
        plan_one(*missing[i].first, target, missing[i].second, own, mine);
      } catch (...) {
        const std::lock_guard lock(mutex);
        failure = std::current_exception();
        next = missing.size();
        return;
      }
      const std::lock_guard lock(mutex);
      ++count.done;
      count.unplanned += mine.unplanned;
      if (progress) progress(count);
    }
  };
  std::vector<std::thread> others;
  for (int t = 1; t < std::min<int64_t>(threads, count.missing); ++t) others.emplace_back(work);
  work();
  for (std::thread& t : others) t.join();
  if (failure) std::rethrow_exception(failure);
  return count;
}

}  // namespace

void use_no_driver() {
  const std::filesystem::path library =
      std::filesystem::read_symlink("/proc/self/exe").parent_path() / "libfirn_no_driver.so";
  if (!dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL))
    throw DeviceError(fmt::format("what is needed to plan without a GPU is not beside this program: {}", dlerror()));
}

void note(Operation o) {
  if (notes().names.insert(o.name).second) notes().operations.push_back(std::move(o));
}

}  // namespace cudnn

std::string describe_gpu(const Stream& gpu) { return cudnn::description(gpu); }

PlanCount plan_noted(const Stream& gpu, int threads, const std::function<void(const PlanCount&)>& progress) {
  if (cudnn::notes().operations.empty()) return {};
  return cudnn::plan_all(describe_gpu(gpu), device_name(gpu), true, threads, progress);
}

PlanCount plan_noted(const std::string& description, int threads,
                     const std::function<void(const PlanCount&)>& progress) {
  const nlohmann::json d = nlohmann::json::parse(description, nullptr, false);
  const auto name = d.is_object() ? d.value("deviceName", nlohmann::json()) : nlohmann::json();
  const auto version = d.is_object() ? d.value("deviceVer", nlohmann::json()) : nlohmann::json();
  if (!name.is_string() || !version.is_number_integer())
    throw DeviceError("this describes no GPU: expected cuDNN's JSON, with deviceName and deviceVer");
  cudnn::use_no_driver();
  return cudnn::plan_all(description, fmt::format("{} sm_{}", name.get<std::string>(), version.get<int>() / 10), false,
                         threads, progress);
}

}  // namespace firn::kernels
