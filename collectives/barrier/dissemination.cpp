// Barrier by dissemination: in step k a rank tells the one 2^k after it, and hears from the one 2^k
// before it.
//
// Cost: ⌈log2 p⌉·α.
// Source: Hensgen, Finkel & Manber 1988, Two Algorithms for Barrier Synchronization.
#include <numeric>
#include <vector>

#include "algorithm.hpp"
#include "barrier/by_plan.hpp"
#include "plan/pipeline.hpp"

namespace shoal {
namespace {

class Dissemination final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;

  Seconds cost(Bytes, int ranks, const Network& net) const noexcept override {
    return Seconds(log2_ceil(ranks) * net.alpha);
  }

  void run(const Call& call) const override {
    std::vector<Rank> members(static_cast<std::size_t>(call.comm->size()));
    std::iota(members.begin(), members.end(), 0);
    dissemination_barrier(*call.comm, members, call.comm->rank());
  }
};

}  // namespace

void dissemination_barrier(const Communicator& comm, std::span<const Rank> members, int me) {
  const auto count = static_cast<int>(members.size());
  // A byte goes around: what a step sends waits for what the steps before it receive.
  Plan plan;
  plan.counts = {1};
  for (int distance = 1; distance < count; distance *= 2) {
    Round& round = plan.rounds.emplace_back();
    round.sends = {{(me + distance) % count, 0, 1}};
    round.receives = {{(me + count - distance) % count, 0, 1}};
  }
  std::byte byte{};
  Exchange exchange;
  exchange.comm = &comm;
  exchange.members = members;
  exchange.operation = "barrier";
  exchange.in = exchange.out = &byte;
  run_plan(plan, exchange);
}

const Algorithm& barrier_dissemination() {
  static const Dissemination algorithm({Operation::barrier, "dissemination",
                                        "the fewest steps for any number of ranks",
                                        "Hensgen, Finkel & Manber 1988"});
  return algorithm;
}

}  // namespace shoal
