// Broadcast along a binomial tree: the ranks that have the data double in each step.
//
// Cost: ⌈log2 p⌉·(α + n·β).
// Source: Thakur et al. 2005, section 3.4.
#include <numeric>
#include <vector>

#include "algorithm.hpp"
#include "plan/pipeline.hpp"
#include "plan/shapes.hpp"

namespace shoal {
namespace {

class Binomial final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;

  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    return Seconds(log2_ceil(ranks) * (net.alpha + static_cast<double>(bytes) * net.beta));
  }

  void run(const Call& call) const override {
    std::vector<Rank> members(static_cast<std::size_t>(call.comm->size()));
    std::iota(members.begin(), members.end(), 0);
    Plan plan;
    plan.counts = {call.count};
    add_binomial(plan, call.comm->size(), call.comm->rank(), call.root);
    Exchange exchange;
    exchange.comm = call.comm;
    exchange.members = members;
    exchange.operation = "broadcast";
    exchange.in = exchange.out = call.out;
    exchange.type = call.type;
    run_plan(plan, exchange);
  }
};

}  // namespace

const Algorithm& broadcast_binomial() {
  static const Binomial algorithm({Operation::broadcast, "binomial",
                                   "short messages: the fewest steps",
                                   "Thakur et al. 2005, section 3.4"});
  return algorithm;
}

}  // namespace shoal
