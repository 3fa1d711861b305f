// What a collective costs on a cluster, by the formulae that stand beside the runtime's algorithms.
//
// A group that lies in several domains of a level is taken apart as the runtime's two-level
// algorithms do it (Träff & Hunold 2020, full-lane decomposition): reduce-scatter inside, the
// operation between the domains on each member's part, all-gather inside. In node-shared memory the
// registry's own hierarchical algorithms are priced.
#include <algorithm>
#include <cmath>

#include <shoal/planning/estimate.hpp>
#include <shoal/runtime/error.hpp>

namespace shoal::planning {
namespace {

// Takes part in pricing messages: not MPI's, not those inside a node or of two levels, and not what
// is there for the sake of reproducible sums only.
bool is_flat(std::string_view name) {
  return name != "mpi" && name != "gathered" && !name.starts_with("node_") &&
         !name.starts_with("hierarchical");
}

Bytes whole_bytes(double bytes) { return static_cast<Bytes>(std::llround(std::max(bytes, 0.0))); }

}  // namespace

Network Prices::network(int level, int members) const {
  const Level& at = cluster_.levels[static_cast<std::size_t>(level)];
  Network net;
  net.alpha = at.latency;
  net.beta = at.beta();
  net.overhead = at.overhead;
  // Sums stream from memory: two reads and a write.
  net.gamma = 3 / (cluster_.device.memory_bandwidth * cluster_.device.memory_efficiency);
  net.nodes = members;
  net.per_node = 1;
  if (at.kind == Level::Kind::shared_memory) {
    net.node_alpha = at.latency;
    net.node_beta = at.beta();
  }
  return net;
}

Network Prices::network_for(Operation operation, double bytes, int level, int members) const {
  Network net = network(level, members);
  const auto& measured = cluster_.levels[static_cast<std::size_t>(level)].measured;
  const auto take = [&](const std::string& name, double& figure,
                        std::initializer_list<double> where) {
    const auto found = measured.find(name);
    if (found != measured.end()) figure = found->second.at(where);
  };
  const double ranks = members;
  if (cluster_.levels[static_cast<std::size_t>(level)].kind == Level::Kind::shared_memory) {
    take("flag", net.node_alpha, {ranks});
    take(std::string(name_of(operation)), net.node_beta, {ranks, bytes});
  } else {
    // Measured of one rank a node: where several send at once they share the link.
    if (measured.count("message") > 0) {
      take("message", net.beta, {bytes});
      net.beta *= cluster_.levels[static_cast<std::size_t>(level)].shared_by;
    }
  }
  return net;
}

std::vector<int> Prices::spread(Group group) const {
  std::vector<int> counts;
  int before = 1;  // members in a domain of the level inside
  for (const Level& level : cluster_.levels) {
    int members =
        level.devices == 0 ? group.size : std::clamp(level.devices / group.stride, 1, group.size);
    // Domains that hold equally many: an uneven rest counts as if it lay in more of them.
    while (group.size % members != 0 || members % before != 0) --members;
    counts.push_back(members / before);
    before = members;
  }
  return counts;
}

const Algorithm* Prices::algorithm(Operation operation, double bytes, int members,
                                   int level) const {
  const Level& at = cluster_.levels[static_cast<std::size_t>(level)];
  if (at.kind == Level::Kind::shared_memory) return &find_algorithm(operation, "node_shared");
  const Network net = network_for(operation, bytes, level, members);
  const Algorithm* best = nullptr;
  Seconds least{0};
  for (const Algorithm* each : algorithms(operation)) {
    if (!is_flat(each->name())) continue;
    const Seconds cost = each->cost(whole_bytes(bytes), members, net);
    if (best == nullptr || cost < least) {
      best = each;
      least = cost;
    }
  }
  return best;
}

double Prices::all_at_once(double bytes, int members, int level) const {
  const Network net = network(level, members);
  const double share = (members - 1.0) / members;
  return net.alpha + (members - 2) * net.overhead + share * bytes * net.beta;
}

double Prices::flat(Operation operation, double bytes, int members, int level) const {
  if (members <= 1) return 0;
  const Level& at = cluster_.levels[static_cast<std::size_t>(level)];
  const auto measured = at.measured.find(std::string(name_of(operation)));
  if (at.kind == Level::Kind::links && measured != at.measured.end()) {
    return bytes * measured->second.at({static_cast<double>(members), bytes});
  }
  const Network net = network_for(operation, bytes, level, members);
  const Algorithm* best = algorithm(operation, bytes, members, level);
  double seconds = best->cost(whole_bytes(bytes), members, net).count();
  if (operation == Operation::all_to_all && net.node_alpha == 0) {
    seconds = std::min(seconds, all_at_once(bytes, members, level));
  }
  return seconds;
}

double Prices::whole_nodes(Operation operation, double bytes, const std::vector<int>& counts,
                           std::size_t level) const {
  if (level != 0 || counts.size() != 2 || counts[1] == 1) return 0;
  if (counts[0] == 1 || counts[0] != cluster_.devices_per_node) return 0;
  const auto& measured = cluster_.levels[1].measured;
  const auto found = measured.find(whole_nodes_table(name_of(operation)));
  if (found == measured.end()) return 0;
  return bytes * found->second.at({static_cast<double>(counts[1]), bytes});
}

double Prices::by_levels(Operation operation, double bytes, const std::vector<int>& counts,
                         std::size_t level) const {
  int above = 1;
  for (std::size_t i = level + 1; i < counts.size(); ++i) above *= counts[i];
  const int here = counts[level];
  if (above == 1) return flat(operation, bytes, here, static_cast<int>(level));
  if (here == 1) return by_levels(operation, bytes, counts, level + 1);
  const Level& inside = cluster_.levels[level];
  if (const double seconds = whole_nodes(operation, bytes, counts, level); seconds > 0) return seconds;
  if (inside.kind == Level::Kind::shared_memory && level + 2 == counts.size()) {
    Network net = network_for(operation, bytes, static_cast<int>(level) + 1, above);
    const Network node = network_for(operation, bytes, static_cast<int>(level), here);
    net.node_alpha = node.node_alpha;
    net.node_beta = node.node_beta;
    net.nodes = above;
    net.per_node = here;
    // The lanes of one group share the node's link with those of its other groups only.
    net.beta /= here;
    double best = 0;
    for (const Algorithm* each : algorithms(operation)) {
      if (!each->name().starts_with("hierarchical")) continue;
      const double cost = each->cost(whole_bytes(bytes), here * above, net).count();
      if (best == 0 || cost < best) best = cost;
    }
    if (best > 0) return best;
  }
  const auto inner = [&](Operation part) {
    return flat(part, bytes, here, static_cast<int>(level));
  };
  switch (operation) {
    case Operation::all_reduce:
      return inner(Operation::reduce_scatter) +
             by_levels(operation, bytes / here, counts, level + 1) + inner(Operation::all_gather);
    case Operation::reduce_scatter:
    case Operation::all_gather:
      return inner(operation) + by_levels(operation, bytes / here, counts, level + 1);
    case Operation::all_to_all: {
      // Of a rank's data 1/above stays in its domain; both parts go at the same time.
      const double near = flat(operation, bytes / above, here, static_cast<int>(level));
      std::vector<int> far = counts;
      far[level] = 1;
      // Every member of another domain is a peer.
      far[level + 1] *= here;
      const double share = bytes * (1 - 1.0 / above);
      return std::max(near, by_levels(operation, share, far, level + 1));
    }
    default:
      return inner(operation) + by_levels(operation, bytes, counts, level + 1);
  }
}

const CollectivePrice& Prices::known(Operation operation, double bytes, Group group) const {
  const auto [found, is_new] =
      known_.try_emplace(std::make_tuple(operation, bytes, group.size, group.stride));
  CollectivePrice& all = found->second;
  if (!is_new) return all;
  const std::vector<int> counts = spread(group);
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] > 1) all.level = static_cast<int>(i);
  }
  all.seconds = by_levels(operation, bytes, counts, 0);
  const Level& outer = cluster_.levels[static_cast<std::size_t>(all.level)];
  if (outer.kind == Level::Kind::shared_memory) return all;
  const double domains = counts[static_cast<std::size_t>(all.level)];
  const double here = group.size / domains;
  double of_a_group = bytes;
  switch (operation) {
    case Operation::all_reduce: of_a_group *= 2 * (domains - 1) / domains; break;
    case Operation::reduce_scatter:
    case Operation::all_gather: of_a_group *= (domains - 1) / domains; break;
    case Operation::all_to_all: of_a_group *= here * (domains - 1) / domains; break;
    default: break;
  }
  all.link_bytes = of_a_group * std::max(1.0, outer.shared_by / here);
  return all;
}

double Prices::collective_after(Operation operation, double bytes, Group group,
                                double credit) const {
  if (group.size <= 1 || bytes <= 0) return 0;
  const CollectivePrice& all = known(operation, bytes, group);
  const Level& outer = cluster_.levels[static_cast<std::size_t>(all.level)];
  if (!outer.burst_bytes || all.link_bytes <= credit) return all.seconds;
  const double rate = outer.bandwidth * outer.efficiency;
  return std::max(all.seconds, outer.latency + (all.link_bytes - credit) / rate);
}

double Prices::collective(Operation operation, double bytes, Group group, int* level) const {
  if (level != nullptr) *level = 0;
  if (group.size <= 1 || bytes <= 0) return 0;
  if (level != nullptr) *level = known(operation, bytes, group).level;
  return collective_after(operation, bytes, group, credit(group));
}

double Prices::credit(Group group) const {
  const std::vector<int> counts = spread(group);
  double credit = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const std::optional<Figure>& burst = cluster_.levels[i].burst_bytes;
    if (counts[i] > 1) credit = burst ? burst->value : 0;
  }
  return credit;
}

double Prices::link_bytes(Operation operation, double bytes, Group group) const {
  return group.size <= 1 || bytes <= 0 ? 0 : known(operation, bytes, group).link_bytes;
}

double Prices::message(double bytes, int distance, int* level) const {
  std::size_t at = 0;
  while (at + 1 < cluster_.levels.size() && distance >= cluster_.levels[at].devices) ++at;
  if (level != nullptr) *level = static_cast<int>(at);
  const Level& link = cluster_.levels[at];
  // A link that has rested lets some of it pass at once: as messages were measured.
  const auto measured = link.measured.find("message");
  if (link.burst_bytes && measured != link.measured.end() && bytes > 0) {
    return link.latency + bytes * link.shared_by * measured->second.at({bytes});
  }
  return link.latency + bytes * link.beta();
}

}  // namespace shoal::planning
