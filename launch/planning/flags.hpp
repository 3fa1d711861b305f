// The flags that `plan`, `simulate` and `equal` share: what to do, on what, in which layout.
#pragma once

#include <string>

#include <shoal/planning/search.hpp>

namespace CLI {
class App;
}

namespace shoal::launch {

/// As given; the functions make of it what the planner takes. They throw UsageError.
struct PlanFlags {
  std::string model, cluster, software, type, weights, mesh, gradient_type, gather_type;
  int nodes = 0;
  bool train = false, prefill = false, decode = false;
  Index global_batch = 0, batch = 0, context = 0, micro_batch = 0;
  int interleave = 0, zero = -1;
  std::string recompute;

  planning::Cluster make_cluster() const;
  planning::Software make_software(const planning::Cluster& cluster) const;
  planning::Workload make_workload(const planning::Model& model,
                                   const planning::Cluster& cluster) const;
  planning::Fixed make_fixed() const;
};

/// Adds --model, and what is to be done: --train, --prefill, --decode and their sizes.
void add_workload_flags(CLI::App& app, PlanFlags& flags);
/// Adds --cluster, --nodes, --software.
void add_cluster_flags(CLI::App& app, PlanFlags& flags);
/// Adds --mesh and what else a layout is.
void add_layout_flags(CLI::App& app, PlanFlags& flags);

/// "train a batch of 1536 sequences of 2048 tokens, bf16".
std::string describe(const planning::Workload& workload);

// Numbers with units, for tables: three digits.
std::string seconds_text(double seconds);
std::string bytes_figure(double bytes);
std::string count_text(double count);  ///< 1.2 M, 345 k

}  // namespace shoal::launch
