// Broadcast of long messages: the root scatters blocks, which then go around a ring.
//
// Cost: (⌈log2 p⌉ + p − 1)·α + 2·(p−1)/p·n·β. (The scatter here is p−1 messages that leave the root at
// once: its n·β is the wire's.)
// Source: van de Geijn 1991, as described by Thakur et al. 2005, section 3.4.
#include "algorithm.hpp"
#include "transport.hpp"

namespace shoal {
namespace {

class ScatterAllGather final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;

  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    const double share = static_cast<double>(ranks - 1) / ranks;
    return Seconds(2 * (ranks - 1) * net.alpha +
                   2 * share * static_cast<double>(bytes) * net.beta);
  }

  void run(const Call& call) const override {
    const Communicator& comm = *call.comm;
    const Bytes element = size_of(call.type);
    const std::vector<Index> counts = even_counts(call.count, comm.size());
    const std::vector<Index> starts = starts_of(counts);
    auto* data = static_cast<std::byte*>(call.out);
    const auto block = [&](Rank rank) {
      return data + static_cast<Bytes>(starts[static_cast<std::size_t>(rank)]) * element;
    };
    const auto bytes = [&](Rank rank) {
      return static_cast<Bytes>(counts[static_cast<std::size_t>(rank)]) * element;
    };
    Messages messages(comm, "broadcast");
    if (comm.rank() == call.root) {
      for (Rank rank = 0; rank < comm.size(); ++rank) {
        if (rank != call.root) messages.send(block(rank), bytes(rank), rank);
      }
    } else {
      messages.receive(block(comm.rank()), bytes(comm.rank()), call.root);
    }
    messages.wait();
    ring_all_gather(call, data, counts);
  }
};

}  // namespace

const Algorithm& broadcast_scatter_all_gather() {
  static const ScatterAllGather algorithm({Operation::broadcast, "scatter_all_gather",
                                           "long messages: scatter, then a ring",
                                           "van de Geijn 1991; Thakur et al. 2005, section 3.4"});
  return algorithm;
}

}  // namespace shoal
