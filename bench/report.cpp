#include "report.hpp"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <ctime>

#include <nlohmann/json.hpp>
#include <shoal/collectives/broadcast.hpp>
#include <shoal/kernels/local/gemm.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/isa.hpp>
#include <shoal/runtime/runtime.hpp>
#include <shoal/runtime/topology.hpp>
#include <shoal_version.h>

namespace shoal::bench {
namespace {

using Json = nlohmann::ordered_json;

Json machine() {
  const Machine here = local_machine();
  return {{"host", here.host},
          {"processor", here.processor},
          {"features", processor_features()},
          {"packages", here.packages},
          {"numa_nodes", here.numa_nodes},
          {"cores", here.cores},
          {"threads", here.threads},
          {"usable_threads", here.usable_threads},
          {"l1d_bytes", here.l1d},
          {"l2_bytes", here.l2},
          {"l3_bytes", here.l3},
          {"memory_bytes", here.memory}};
}

Json versions() {
  return {{"shoal", SHOAL_VERSION},
          {"build", SHOAL_BUILD_TYPE},
          {"compiler", "gcc " __VERSION__},
          {"mpi", Runtime::mpi_version()},
          {"kernels", name_of(selected_isa())},
          {"gemm_fp32", kernels::gemm_backend(kernels::Precision::fp32)},
          {"gemm_bf16", kernels::gemm_backend(kernels::Precision::bf16)},
          {"gemm_int8", kernels::gemm_backend_int8()}};
}

Json as_json(const Row& row, int ranks) {
  Json out;
  const auto number_or_null = [](const std::optional<double>& value) {
    return value ? Json(*value) : Json(nullptr);
  };
  out["op"] = row.op;
  if (row.bytes) out["bytes"] = *row.bytes;
  if (!row.shape.empty()) out["shape"] = row.shape;
  out["ranks"] = ranks;
  out["algorithm"] = row.algorithm;
  out["median_us"] = row.median_us;
  out["peer"] = row.peer.empty() ? Json(nullptr) : Json(row.peer);
  out["peer_us"] = number_or_null(row.peer_us);
  out["bound_us"] = number_or_null(row.bound_us);
  for (const auto& [name, value] : row.more) out[name] = value;
  for (const auto& [name, value] : row.notes) out[name] = value;
  return out;
}

}  // namespace

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

Report::Report(const Communicator& world, const std::string& path) : world_(world), path_(path) {
  if (path.empty()) return;
  std::int32_t problem = 0;
  if (world.rank() == 0) {
    file_.reset(std::fopen(path.c_str(), "w"));
    if (!file_) problem = errno;
  }
  broadcast(world, &problem, 1, DType::i32, 0);
  if (problem != 0) throw UsageError("--json", path + ": " + std::strerror(problem));
}

void Report::write() {
  if (path_.empty()) return;
  std::int32_t problem = 0;
  if (world_.rank() == 0) {
    Json report;
    report["machine"] = machine();
    report["versions"] = versions();
    report["revision"] = SHOAL_GIT_REVISION;
    report["date"] = utc_now();
    report["ranks"] = world_.size();
    report["results"] = Json::array();
    for (const Row& row : rows_) report["results"].push_back(as_json(row, world_.size()));
    const std::string text = report.dump(2) + '\n';
    if (std::fwrite(text.data(), 1, text.size(), file_.get()) != text.size() ||
        std::fflush(file_.get()) != 0) {
      problem = errno;
    }
  }
  broadcast(world_, &problem, 1, DType::i32, 0);
  if (problem != 0) throw Error("--json", path_ + ": " + std::strerror(problem));
}

}  // namespace shoal::bench
