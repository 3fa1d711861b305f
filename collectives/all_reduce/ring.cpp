// All-reduce around a ring: reduce-scatter, then all-gather, each in p−1 steps between neighbours.
// The least data whatever p, and no rank talks to more than two: the choice for long messages.
//
// Cost: 2·(p−1)·α + 2·(p−1)/p·n·β + (p−1)/p·n·γ.
// Source: Patarasuk & Yuan 2009, Bandwidth optimal all-reduce algorithms for clusters of
// workstations.

#include "algorithm.hpp"
#include "reduce/reduce.hpp"

namespace shoal {
namespace {

class Ring final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;

  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    const double n = static_cast<double>(bytes);
    const double share = static_cast<double>(ranks - 1) / ranks;
    return Seconds(2 * (ranks - 1) * net.alpha + 2 * share * n * net.beta + share * n * net.gamma);
  }

  void run(const Call& call) const override {
    copy_elements(call.out, call.in, call.bytes());
    auto* data = static_cast<std::byte*>(call.out);
    const std::vector<Index> counts = even_counts(call.count, call.comm->size());
    const std::vector<Index> starts = starts_of(counts);
    ring_reduce_scatter(call, data, starts, counts);
    ring_all_gather(call, data, starts, counts);
  }
};

}  // namespace

const Algorithm& all_reduce_ring() {
  static const Ring algorithm({Operation::all_reduce, "ring",
                               "long messages: the least data, neighbours only",
                               "Patarasuk & Yuan 2009"});
  return algorithm;
}

}  // namespace shoal
