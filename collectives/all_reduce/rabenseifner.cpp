// All-reduce by Rabenseifner: reduce-scatter by recursive halving, then all-gather by recursive
// doubling. Few steps and the least data: the choice for the middle.
//
// Here with any number of ranks, which is taken apart into its prime factors: a step of radix r
// divides what the ranks of a group still share into r parts. That needs no step before and after
// for ranks beyond a power of two, which would send all the data twice more. Parts travel in
// segments, so that a step starts before the one before has ended.
//
// Cost: 2·Σ over radices r of (α + (r−2)·o) + 1.05·2·(p−1)/p·k·n·β + (p−1)/p·n·γ where k ranks
// share a node's link (1.05: split_idle). Source: Rabenseifner 2004, Optimization of Collective
// Reduction Operations; Thakur et al. 2005, section 4.2; the mixed radices as in Ruefenacht, Bull &
// Booth 2017.
#include "all_reduce/planned.hpp"
#include "plan/shapes.hpp"

namespace shoal {
namespace {

class Rabenseifner final : public PlannedAllReduce {
 public:
  using PlannedAllReduce::PlannedAllReduce;

  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    const double n = static_cast<double>(bytes);
    const double share = static_cast<double>(ranks - 1) / ranks;
    double steps = 0;
    for (const int radix : prime_factors(ranks)) steps += net.alpha + (radix - 2) * net.overhead;
    return Seconds(2 * steps + share * n * (2 * split_idle * net.per_node * net.beta + net.gamma));
  }

  Plan plan(Index count, DType, int members, int me, const Network&) const override {
    Plan plan;
    plan.counts = even_counts(count, members);
    const std::vector<int> radices = prime_factors(members);
    add_split_reduce_scatter(plan, radices, me);
    add_split_all_gather(plan, radices, me);
    return plan;
  }
};

}  // namespace

const PlannedAllReduce& all_reduce_rabenseifner() {
  static const Rabenseifner algorithm({Operation::all_reduce, "rabenseifner",
                                       "middle sizes: few steps, the least data",
                                       "Rabenseifner 2004; Thakur et al. 2005, section 4.2"});
  return algorithm;
}

}  // namespace shoal
