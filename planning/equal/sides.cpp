// The two sides of a comparison.
#include <shoal/planning/equal.hpp>
#include <shoal/runtime/error.hpp>

namespace shoal::planning {
namespace {

bool is_profile(const char* kind, const std::string& name) {
  for (const std::string& each : profile_names(kind)) {
    if (each == name) return true;
  }
  return false;
}

}  // namespace

Side find_side(const std::string& name) {
  Side side;
  side.name = name;
  if (name.ends_with(".json") || (is_profile("clusters", name) && !is_profile("devices", name))) {
    side.cluster = find_cluster(name);
    side.software = find_software(side.cluster.software);
    return side;
  }
  const Device device = find_device(name);
  for (const std::string& each : profile_names("clusters")) {
    Cluster cluster = find_cluster(each);
    if (cluster.device.name != device.name) continue;
    // Counted one by one; the levels stay those of the cluster.
    cluster.nodes = cluster.devices();
    cluster.devices_per_node = 1;
    side.cluster = std::move(cluster);
    side.software = find_software(side.cluster.software);
    return side;
  }
  throw UsageError("equal", "no cluster's profile has the device " + name,
                   "name a cluster, or write a profile of one");
}

}  // namespace shoal::planning
