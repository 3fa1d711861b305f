// All-gather around a ring: every block is passed on p−1 times.
//
// Cost: (p−1)·α + (p−1)/p·n·β.
// Source: Thakur et al. 2005, section 3.1.

#include "algorithm.hpp"
#include "reduce/reduce.hpp"

namespace shoal {
namespace {

class Ring final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;

  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    const double share = static_cast<double>(ranks - 1) / ranks;
    return Seconds((ranks - 1) * net.alpha + share * static_cast<double>(bytes) * net.beta);
  }

  void run(const Call& call) const override {
    const std::vector<Index> starts = starts_of(call.counts);
    const auto me = static_cast<std::size_t>(call.comm->rank());
    auto* data = static_cast<std::byte*>(call.out);
    auto* mine = data + static_cast<Bytes>(starts[me]) * size_of(call.type);
    if (mine != call.in) {
      copy_elements(mine, call.in, static_cast<Bytes>(call.counts[me]) * size_of(call.type));
    }
    ring_all_gather(call, data, call.counts);
  }
};

}  // namespace

const Algorithm& all_gather_ring() {
  static const Ring algorithm({Operation::all_gather, "ring",
                               "long messages: neighbours only, any counts",
                               "Thakur et al. 2005, section 3.1"});
  return algorithm;
}

}  // namespace shoal
