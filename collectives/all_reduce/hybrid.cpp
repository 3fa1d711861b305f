// All-reduce by a hybrid: a few rounds of reduce-scatter, in which groups of ranks split the data
// among them, then the ranks that share a block exchange it whole, as in recursive doubling, and an
// all-gather undoes the splits. Between recursive doubling, which moves the most in the fewest
// steps, and Rabenseifner's, which moves the least in twice as many: of eight ranks one split takes
// four steps for twice the data, where these take three for three times and six for 1.75 times. The
// last split never pays: two ranks that share a block send as much in one exchange as in a split
// and its undoing.
//
// The ranks are taken apart into prime factors, the largest first; how many of these split is what
// costs least, but always one at least, and one at least exchanges if there are two.
//
// Cost: 2·Σ over splitting radices r of (α + (r−2)·o) + Σ over exchanging ones of (α + (r−2)·o +
// (r−1)·n/B·(k·β + γ)) + (B−1)/B·n·(1.05·2·k·β + γ) where the splits' product is B and k ranks
// share a node's link. Source: van de Geijn 1994, On global combine operations, section 5
// (hybrids); Chan, Heimlich, Purkayastha & van de Geijn 2007, Collective communication: theory,
// practice, and experience, section 7.
#include <algorithm>
#include <functional>
#include <span>
#include <vector>

#include "all_reduce/planned.hpp"
#include "plan/shapes.hpp"

namespace shoal {
namespace {

struct HybridRadices {
  std::vector<int> all;
  std::size_t split = 0;  // of these; the rest exchanges
  double seconds = 0;

  std::span<const int> splitting() const { return std::span(all).first(split); }
  std::span<const int> exchanging() const { return std::span(all).subspan(split); }
};

double seconds_of(const HybridRadices& radices, Bytes bytes, const Network& net) {
  const double n = static_cast<double>(bytes);
  double seconds = 0;
  double blocks = 1;
  for (const int radix : radices.splitting()) {
    seconds += 2 * (net.alpha + (radix - 2) * net.overhead);
    blocks *= radix;
  }
  for (const int radix : radices.exchanging()) {
    seconds += net.alpha + (radix - 2) * net.overhead +
               (radix - 1) * n / blocks * (net.per_node * net.beta + net.gamma);
  }
  return seconds +
         (blocks - 1) / blocks * n * (2 * split_idle * net.per_node * net.beta + net.gamma);
}

HybridRadices cheapest_radices(Bytes bytes, int ranks, const Network& net) {
  HybridRadices radices{prime_factors(ranks)};
  std::sort(radices.all.begin(), radices.all.end(), std::greater<>());
  HybridRadices best;
  const std::size_t most = std::max<std::size_t>(radices.all.size(), 2) - 1;
  for (radices.split = 1; radices.split <= std::min(most, radices.all.size()); ++radices.split) {
    radices.seconds = seconds_of(radices, bytes, net);
    if (radices.split == 1 || radices.seconds < best.seconds) best = radices;
  }
  return best;
}

class Hybrid final : public PlannedAllReduce {
 public:
  using PlannedAllReduce::PlannedAllReduce;

  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    return Seconds(cheapest_radices(bytes, ranks, net).seconds);
  }

  Plan plan(Index count, DType type, int members, int me, const Network& net) const override {
    const HybridRadices radices =
        cheapest_radices(static_cast<Bytes>(count) * size_of(type), members, net);
    int blocks = 1;
    for (const int radix : radices.splitting()) blocks *= radix;
    const int sharing = members / blocks;  // members next to each other, of one block
    Plan plan;
    plan.counts = even_counts(count, blocks);
    add_split_reduce_scatter(plan, radices.splitting(), me, sharing);
    add_exchange_of(plan, radices.exchanging(), me, me / sharing);
    add_split_all_gather(plan, radices.splitting(), me, sharing);
    return plan;
  }
};

}  // namespace

const PlannedAllReduce& all_reduce_hybrid() {
  static const Hybrid algorithm(
      {Operation::all_reduce, "hybrid",
       "short to middle sizes: splits the data a few times, exchanges the parts",
       "van de Geijn 1994, section 5; Chan et al. 2007, section 7"});
  return algorithm;
}

}  // namespace shoal
