#include "simulation/phases.hpp"

#include <cmath>

namespace shoal::planning {
namespace {

// Every member does the same with those so much further on: rings, and where all meet all.
bool looks_alike(std::string_view name) {
  return name == "ring" || name == "pairwise" || name == "bruck" || name == "bidirectional_ring" ||
         name == "direct";
}

// The pipeline cuts messages into segments, so that of a ring's only the last one is combined while
// nothing travels (collectives/all_reduce/ring.cpp).
constexpr double segment_bytes = 63 * 1024;

}  // namespace

RoundTable::RoundTable(const Algorithm& algorithm, Bytes bytes, int members, const Network& network)
    : members_(members), alike_(looks_alike(algorithm.name())) {
  // Blocks that are equally long look alike; a remainder of a few bytes is of no account.
  const auto count = static_cast<Bytes>(members);
  if (alike_) bytes = (bytes + count - 1) / count * count;
  of_first_ = messages_of(algorithm, bytes, members, 0, network);
  if (alike_) return;
  for (int me = 1; me < members; ++me) {
    of_others_.push_back(messages_of(algorithm, bytes, members, me, network));
  }
}

RoundTable::RoundTable(Bytes bytes, int members) : members_(members), alike_(true) {
  MessageRound& round = of_first_.emplace_back();
  for (int peer = 1; peer < members; ++peer) {
    round.sends.push_back({peer, bytes / static_cast<Bytes>(members)});
    round.receives.push_back({members - peer, bytes / static_cast<Bytes>(members)});
  }
}

const MessageRound& RoundTable::round(int me, std::size_t at) const {
  return alike_ || me == 0 ? of_first_[at] : of_others_[static_cast<std::size_t>(me - 1)][at];
}

void Phases::add(std::vector<Phase>& phases, Operation operation, double bytes, Group group,
                 int level) {
  if (group.size <= 1) return;
  Phase& phase = phases.emplace_back();
  phase.group = group;
  phase.level = level;
  // What was measured as a whole is played as a whole.
  const Level& at = prices_.cluster().levels[static_cast<std::size_t>(level)];
  if (at.measured.count(std::string(name_of(operation))) > 0) {
    phase.meet_seconds = prices_.at_level(operation, bytes, group.size, level);
    phase.bytes = bytes;
    phase.link_bytes = prices_.link_bytes(operation, bytes, group);
    return;
  }
  const Algorithm* algorithm = prices_.algorithm(operation, bytes, group.size, level);
  const Network net = prices_.network(level, group.size);
  const auto whole = static_cast<Bytes>(std::llround(bytes));
  if (algorithm->name().starts_with("node_")) {
    phase.meet_seconds = algorithm->cost(whole, group.size, net).count();
    return;
  }
  phase.gamma = net.gamma;
  if (operation == Operation::all_reduce && algorithm->name() == "ring") {
    phase.combines_at_most = segment_bytes;
  }
  auto& table = known_[{algorithm, whole, group.size, level}];
  const bool at_once =
      operation == Operation::all_to_all && prices_.all_at_once(bytes, group.size, level) <
                                                algorithm->cost(whole, group.size, net).count();
  if (!table && at_once) table = std::make_shared<RoundTable>(whole, group.size);
  if (!table) table = std::make_shared<RoundTable>(*algorithm, whole, group.size, net);
  phase.table = table;
}

void Phases::add_levels(std::vector<Phase>& phases, Operation operation, double bytes, Group group,
                        const std::vector<int>& counts, std::size_t level) {
  const int here = counts[level];
  const int above = group.size / here;
  const int at = static_cast<int>(level);
  if (above == 1) return add(phases, operation, bytes, group, at);
  const Group inner{here, group.stride};
  const Group outer{above, group.stride * here};
  if (here == 1) return add_levels(phases, operation, bytes, group, counts, level + 1);
  const Level& inside = prices_.cluster().levels[level];
  const bool shared = inside.kind == Level::Kind::shared_memory;
  const auto meet = [&](double seconds) {
    Phase& phase = phases.emplace_back();
    phase.group = inner;
    phase.level = at;
    phase.meet_seconds = seconds;
  };
  if (shared && operation == Operation::all_reduce) {
    // As the two-level algorithms: flags and copies inside, a lane for each rank between the nodes.
    const double flags = here * inside.latency;
    const double copies = bytes * inside.beta() / here;
    meet(flags + copies);
    add_levels(phases, operation, bytes / here, outer, counts, level + 1);
    return meet(flags + copies);
  }
  switch (operation) {
    case Operation::all_reduce:
      add(phases, Operation::reduce_scatter, bytes, inner, at);
      add_levels(phases, operation, bytes / here, outer, counts, level + 1);
      add(phases, Operation::all_gather, bytes, inner, at);
      return;
    case Operation::reduce_scatter:
      add(phases, operation, bytes, inner, at);
      return add_levels(phases, operation, bytes / here, outer, counts, level + 1);
    case Operation::all_gather:
      add_levels(phases, operation, bytes / here, outer, counts, level + 1);
      return add(phases, operation, bytes, inner, at);
    default: {
      // All-to-all: what goes far and what stays near; the far part takes longer, and hides the
      // other.
      Phase& phase = phases.emplace_back();
      phase.group = group;
      phase.level = static_cast<int>(counts.size()) - 1;
      phase.meet_seconds = prices_.collective(operation, bytes, group);
      return;
    }
  }
}

std::vector<Phase> Phases::of(Operation operation, double bytes, Group group) {
  std::vector<Phase> phases;
  if (group.size <= 1 || !(bytes > 0)) return phases;
  const std::vector<int> counts = prices_.spread(group);
  if (const double seconds = prices_.whole_nodes(operation, bytes, counts); seconds > 0) {
    Phase& phase = phases.emplace_back();
    phase.group = group;
    phase.level = static_cast<int>(counts.size()) - 1;
    phase.meet_seconds = seconds;
    phase.link_bytes = prices_.link_bytes(operation, bytes, group);
    return phases;
  }
  add_levels(phases, operation, bytes, group, counts, 0);
  return phases;
}

}  // namespace shoal::planning
