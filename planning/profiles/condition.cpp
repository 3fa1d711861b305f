#include <shoal/planning/kernels.hpp>

namespace shoal::planning {
namespace {

bool starts_with_any(std::string_view name, std::initializer_list<std::string_view> beginnings) {
  for (const std::string_view each : beginnings) {
    if (name.starts_with(each)) return true;
  }
  return false;
}

}  // namespace

Cluster in_condition(const Cluster& cluster, double products, double streams) {
  Cluster now = cluster;
  for (auto& [name, table] : now.device.measured) {
    // Tables of a crowd are ratios.
    if (name.starts_with("crowd_")) continue;
    const double times = starts_with_any(name, {"product.", "attention_"}) ? products : streams;
    for (double& value : table.values) value *= times;
  }
  for (auto& [type, peak] : now.device.peak) peak.value /= products;
  now.device.memory_bandwidth.value /= streams;
  return now;
}

}  // namespace shoal::planning
