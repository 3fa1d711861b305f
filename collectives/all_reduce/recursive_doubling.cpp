// All-reduce by recursive doubling: in step k ranks at distance 2^k exchange all their data. The
// fewest steps with one message a step, so the choice for short messages.
//
// Cost: log2(p)·(α + k·n·β + n·γ) where k ranks share a node's link; two more exchanges of n where p is
// no power of two.
// Source: Thakur, Rabenseifner & Gropp 2005, Optimization of Collective Communication Operations in
// MPICH, section 4.1.
#include "all_reduce/planned.hpp"
#include "plan/shapes.hpp"

namespace shoal {
namespace {

class RecursiveDoubling final : public PlannedAllReduce {
 public:
  using PlannedAllReduce::PlannedAllReduce;

  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    const double n = static_cast<double>(bytes);
    const double step = net.alpha + net.per_node * n * net.beta + n * net.gamma;
    const int core = power_of_two_below(ranks);
    return Seconds((log2_ceil(core) + (core == ranks ? 0 : 2)) * step);
  }

  Plan plan(Index count, DType, int members, int me, const Network&) const override {
    Plan plan;
    plan.counts = {count};
    add_exchange(plan, factors_of(power_of_two_below(members), 2), members, me);
    return plan;
  }
};

}  // namespace

const PlannedAllReduce& all_reduce_recursive_doubling() {
  static const RecursiveDoubling algorithm(
      {Operation::all_reduce, "recursive_doubling", "short messages: few steps, few messages",
       "Thakur, Rabenseifner & Gropp 2005, section 4.1"});
  return algorithm;
}

}  // namespace shoal
