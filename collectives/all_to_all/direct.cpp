// All-to-all in one step: every rank sends every other its block and receives its own from each,
// all at once, straight from and into the caller's memory.
//
// Cost: α + (p−2)·o + 1.05·(p−1)/p·n·β; where k of the p ranks share a node's link 1.05·k·(1 −
// k/p)·n·β. (p−1 senders to one receiver fill the switch's buffers: as in all_reduce/direct.cpp.)
// Source: Thakur et al. 2005, section 3.3 (medium messages: all posted at once).
#include <cstdint>
#include <numeric>
#include <vector>

#include "algorithm.hpp"
#include "plan/pipeline.hpp"
#include "plan/segments.hpp"
#include "reduce/reduce.hpp"

namespace shoal {
namespace {

class Direct final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;

  std::string why_not(const Call& call) const override {
    // An empty block is no message: ranks that disagree about one would not find out.
    return call.receive_counts.empty() ? "" : "each pair of ranks has a count of its own";
  }

  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    const double sharing = net.nodes == 1 ? 1 : net.per_node;
    return Seconds(net.alpha + (ranks - 2) * net.overhead +
                   crowded_links * sharing * (1 - sharing / ranks) * static_cast<double>(bytes) *
                       net.beta);
  }

  void run(const Call& call) const override {
    const int ranks = call.comm->size();
    const Rank me = call.comm->rank();
    const Index each = call.counts.front();
    const Bytes block = static_cast<Bytes>(each) * size_of(call.type);
    const Bytes mine = block * static_cast<Bytes>(me);
    copy_elements(static_cast<std::byte*>(call.out) + mine,
                  static_cast<const std::byte*>(call.in) + mine, block);
    std::vector<Rank> members(static_cast<std::size_t>(ranks));
    std::iota(members.begin(), members.end(), 0);
    // What goes, by receiver, and what comes, by sender.
    Plan plan;
    plan.counts.assign(2 * members.size(), each);
    plan.segment_bytes = most_segment_bytes();
    Round& round = plan.rounds.emplace_back();
    for (int step = 1; step < ranks; ++step) {
      const int to = (me + step) % ranks;
      const int from = (me + ranks - step) % ranks;
      round.sends.push_back({to, to, 1});
      round.receives.push_back({from, ranks + from, 1});
    }
    Exchange exchange;
    exchange.comm = call.comm;
    exchange.members = members;
    exchange.operation = "all_to_all";
    exchange.in = call.in;
    // The second half of the plan's blocks is the output; of the first nothing is written.
    exchange.out = reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(call.out) -
                                           block * static_cast<Bytes>(ranks));
    exchange.type = call.type;
    run_plan(plan, exchange);
  }
};

}  // namespace

const Algorithm& all_to_all_direct() {
  static const Direct algorithm({Operation::all_to_all, "direct",
                                 "even counts: every rank to every other, all at once",
                                 "Thakur et al. 2005, section 3.3"});
  return algorithm;
}

}  // namespace shoal
