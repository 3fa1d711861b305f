// Reduce-scatter around a ring: every block visits all ranks once and ends at its owner.
//
// Cost: (p−1)·α + (p−1)/p·n·β + (p−1)/p·n·γ.
// Source: Patarasuk & Yuan 2009; Thakur et al. 2005 for the pairwise relative.
#include "algorithm.hpp"
#include "reduce/reduce.hpp"
#include "scratch.hpp"

namespace shoal {
namespace {

class Ring final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;

  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    const double n = static_cast<double>(bytes);
    const double share = static_cast<double>(ranks - 1) / ranks;
    return Seconds((ranks - 1) * net.alpha + share * n * (net.beta + net.gamma));
  }

  void run(const Call& call) const override {
    const Bytes element = size_of(call.type);
    const std::vector<Index> starts = starts_of(call.counts);
    const auto me = static_cast<std::size_t>(call.comm->rank());
    const Scratch work(*call.comm, call.bytes());
    copy_elements(work.data(), call.in, call.bytes());
    ring_reduce_scatter(call, work.data(), call.counts);
    copy_elements(call.out, work.data() + static_cast<Bytes>(starts[me]) * element,
                static_cast<Bytes>(call.counts[me]) * element);
  }
};

}  // namespace

const Algorithm& reduce_scatter_ring() {
  static const Ring algorithm({Operation::reduce_scatter, "ring",
                               "any size: the least data, neighbours only",
                               "Patarasuk & Yuan 2009"});
  return algorithm;
}

}  // namespace shoal
