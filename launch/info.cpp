// shoal info
#include <cstdio>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <shoal/kernels/local/gemm.hpp>
#include <shoal/runtime/isa.hpp>
#include <shoal/runtime/node_memory.hpp>
#include <shoal/runtime/topology.hpp>
#include <shoal_version.h>

#include "command.hpp"
#include "default_mesh.hpp"
#include "mpi_transport.hpp"
#include "table_row.hpp"

namespace shoal::launch {
namespace {

void print_fact(const std::string& label, const std::string& text) { print_row(label, text, 14); }

using Json = nlohmann::ordered_json;

constexpr const char* about_info =
    "Shows what the runtime sees.\n"
    "\n"
    "Ranks, hosts and cores, MPI and its transport, the libraries and instruction sets behind the "
    "kernels, and the mesh a run would use.";

constexpr Index gpt2_heads = 12;

std::string bytes_text(Bytes bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", value, value < 10 && unit > 0 ? 1 : 0, units[unit]);
}

// "0-3, 6".
std::string ranges(const std::vector<Rank>& ranks) {
  std::string out;
  for (std::size_t i = 0; i < ranks.size();) {
    std::size_t end = i + 1;
    while (end < ranks.size() && ranks[end] == ranks[end - 1] + 1) ++end;
    out += (out.empty() ? "" : ", ") + std::to_string(ranks[i]);
    if (end - i > 1) out += '-' + std::to_string(ranks[end - 1]);
    i = end;
  }
  return out;
}

Json collect(const Communicator& world) {
  const Topology topology(world);
  Json info;
  info["version"] = SHOAL_VERSION;
  info["revision"] = SHOAL_GIT_REVISION;
  info["build"] = SHOAL_BUILD_TYPE;
  info["ranks"] = world.size();
  info["mesh"] = choose_mesh("", world.size(), gpt2_heads).text();
  info["threads_per_rank"] = default_compute_threads();
  info["mpi"] = Runtime::mpi_version();
  info["transport"] = mpi_transport();
  info["node_shared_memory"] =
      node_memory::available() ? "available" : "not available: " + node_memory::why_not();
  info["kernels"] = name_of(selected_isa());
  info["processor_features"] = processor_features();
  info["gemm_fp32"] = kernels::gemm_backend(kernels::Precision::fp32);
  info["gemm_bf16"] = kernels::gemm_backend(kernels::Precision::bf16);
  info["gemm_int8"] = kernels::gemm_backend_int8();
  for (const Topology::Node& node : topology.nodes()) {
    const Machine& machine = node.machine;
    Json entry;
    entry["host"] = node.host;
    entry["ranks"] = node.ranks;
    entry["processor"] = machine.processor;
    entry["packages"] = machine.packages;
    entry["numa_nodes"] = machine.numa_nodes;
    entry["cores"] = machine.cores;
    entry["threads"] = machine.threads;
    entry["usable_threads"] = machine.usable_threads;
    entry["cpu_quota"] = machine.cpu_quota;
    entry["l1d_bytes"] = machine.l1d;
    entry["l2_bytes"] = machine.l2;
    entry["l3_bytes"] = machine.l3;
    entry["memory_bytes"] = machine.memory;
    info["nodes"].push_back(std::move(entry));
  }
  return info;
}

void print_table(const Json& info) {
  const auto text = [&](const char* key) { return info[key].get<std::string>(); };
  print_fact("shoal", fmt::format("{} ({}, {})", text("version"), text("revision"), text("build")));
  print_fact("ranks", fmt::format("{} on {} host{}, {} thread{} each", info["ranks"].get<int>(),
                                  info["nodes"].size(), info["nodes"].size() == 1 ? "" : "s",
                                  info["threads_per_rank"].get<int>(),
                                  info["threads_per_rank"].get<int>() == 1 ? "" : "s"));
  print_fact("mesh", text("mesh") + " (default, for a model of 12 heads)");
  print_fact("mpi", text("mpi"));
  if (!text("transport").empty()) print_fact("transport", text("transport"));
  print_fact("shared memory", text("node_shared_memory"));
  print_fact("kernels", text("kernels") + " (processor: " + text("processor_features") + ")");
  print_fact("gemm fp32", text("gemm_fp32"));
  print_fact("gemm bf16", text("gemm_bf16"));
  print_fact("gemm int8", text("gemm_int8"));
  for (const Json& node : info["nodes"]) {
    const auto number = [&](const char* key) { return node[key].get<int>(); };
    const auto bytes = [&](const char* key) { return bytes_text(node[key].get<Bytes>()); };
    print_fact("host", node["host"].get<std::string>() + ": rank" +
                           (node["ranks"].size() == 1 ? " " : "s ") +
                           ranges(node["ranks"].get<std::vector<Rank>>()));
    print_fact("", node["processor"].get<std::string>());
    print_fact("", fmt::format("{} socket{}, {} NUMA node{}, {} cores, {} threads ({} usable)",
                               number("packages"), number("packages") == 1 ? "" : "s",
                               number("numa_nodes"), number("numa_nodes") == 1 ? "" : "s",
                               number("cores"), number("threads"), number("usable_threads")));
    print_fact("", fmt::format("L1d {}, L2 {}, L3 {}, memory {}", bytes("l1d_bytes"),
                               bytes("l2_bytes"), bytes("l3_bytes"), bytes("memory_bytes")));
    const double quota = node["cpu_quota"].get<double>();
    if (quota > 0) print_fact("", fmt::format("limited to {:.1f} cores by its cgroup", quota));
  }
}

class InfoCommand : public Command {
 public:
  void add_to(CLI::App& program) override {
    app_ = program.add_subcommand("info", about_info);
    app_->add_flag("--json", json_, "print JSON instead of a table");
  }

  int run(Runtime& runtime) override {
    const Json info = collect(runtime.world());
    if (runtime.world().rank() != 0) return 0;
    if (json_) {
      fmt::print("{}\n", info.dump(2));
    } else {
      print_table(info);
    }
    return 0;
  }

 private:
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_info_command() { return std::make_unique<InfoCommand>(); }

}  // namespace shoal::launch
