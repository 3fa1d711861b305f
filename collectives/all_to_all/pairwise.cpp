// All-to-all by pairwise exchange: in step k a rank sends to the one k after it and receives from
// the one k before it.
//
// Cost: (p−1)·α + (p−1)/p·n·β on one node; where k of the p ranks share a node's link (p−1)·α +
// k·(1 − k/p)·n·β.
// Source: Thakur et al. 2005, section 3.3 (long messages).
#include <cstring>

#include "algorithm.hpp"
#include "transport.hpp"

namespace shoal {
namespace {

class Pairwise final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;

  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    const double share = net.nodes == 1
                             ? static_cast<double>(ranks - 1) / ranks
                             : net.per_node * (1 - static_cast<double>(net.per_node) / ranks);
    return Seconds((ranks - 1) * net.alpha + share * static_cast<double>(bytes) * net.beta);
  }

  void run(const Call& call) const override {
    const Communicator& comm = *call.comm;
    const int ranks = comm.size();
    const Bytes element = size_of(call.type);
    const auto& receives = call.receive_counts.empty() ? call.counts : call.receive_counts;
    const std::vector<Index> send_starts = starts_of(call.counts);
    const std::vector<Index> receive_starts = starts_of(receives);
    const auto* in = static_cast<const std::byte*>(call.in);
    auto* out = static_cast<std::byte*>(call.out);
    for (int step = 0; step < ranks; ++step) {
      const auto to = static_cast<std::size_t>((comm.rank() + step) % ranks);
      const auto from = static_cast<std::size_t>((comm.rank() + ranks - step) % ranks);
      Messages messages(comm, "all_to_all");
      messages.receive(out + static_cast<Bytes>(receive_starts[from]) * element,
                       static_cast<Bytes>(receives[from]) * element, static_cast<Rank>(from));
      messages.send(in + static_cast<Bytes>(send_starts[to]) * element,
                    static_cast<Bytes>(call.counts[to]) * element, static_cast<Rank>(to));
      messages.wait();
    }
  }
};

}  // namespace

const Algorithm& all_to_all_pairwise() {
  static const Pairwise algorithm({Operation::all_to_all, "pairwise",
                                   "any counts: one partner at a time",
                                   "Thakur et al. 2005, section 3.3"});
  return algorithm;
}

}  // namespace shoal
