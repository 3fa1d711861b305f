// All-reduce by recursive multiplying: in each step groups of up to eight ranks exchange all their
// data at once. Fewer steps than recursive doubling, for more messages.
//
// The radices are those of the least cost among the factorisations of the largest q ≤ p with factors
// up to 2, 3, ..., 8; the p − q ranks beyond hand their data to another before, and get the result
// after.
//
// Cost: Σ over radices r of α + (r−2)·o + (r−1)·(k·n·β + n·γ) where k ranks share a node's link; two more
// exchanges of n where q < p.
// Source: Ruefenacht, Bull & Booth 2017, Generalisation of recursive doubling for AllReduce.
#include "all_reduce/planned.hpp"
#include "plan/shapes.hpp"

namespace shoal {
namespace {

constexpr int most_radix = 8;

class RecursiveMultiplying final : public PlannedAllReduce {
 public:
  using PlannedAllReduce::PlannedAllReduce;

  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    return Seconds(best(bytes, ranks, net).seconds);
  }

  Plan plan(Index count, DType type, int members, int me, const Network& net) const override {
    Plan plan;
    plan.counts = {count};
    const Bytes bytes = static_cast<Bytes>(count) * size_of(type);
    add_exchange(plan, best(bytes, members, net).radices, members, me);
    return plan;
  }

 private:
  struct Choice {
    std::vector<int> radices;
    double seconds = 0;
  };
  static Choice best(Bytes bytes, int ranks, const Network& net) {
    const double data =
        static_cast<double>(bytes) * (net.per_node * net.beta + net.gamma);
    Choice best;
    for (int most = 2; most <= most_radix; ++most) {
      int core = ranks;
      while (core > 1 && factors_of(core, most).empty()) --core;
      Choice choice{factors_of(core, most)};
      if (core < ranks) choice.seconds += 2 * (net.alpha + data);
      for (const int radix : choice.radices) {
        choice.seconds += net.alpha + (radix - 2) * net.overhead + (radix - 1) * data;
      }
      if (most == 2 || choice.seconds < best.seconds) best = std::move(choice);
    }
    return best;
  }
};

}  // namespace

const PlannedAllReduce& all_reduce_recursive_multiplying() {
  static const RecursiveMultiplying algorithm(
      {Operation::all_reduce, "recursive_multiplying",
       "short messages: the fewest steps, several messages in each", "Ruefenacht, Bull & Booth 2017"});
  return algorithm;
}

}  // namespace shoal
