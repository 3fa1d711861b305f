// Barrier by dissemination: in step k a rank tells the one 2^k after it, and hears from the one 2^k
// before it.
//
// Cost: ⌈log2 p⌉·α.
// Source: Hensgen, Finkel & Manber 1988, Two Algorithms for Barrier Synchronization.
#include "algorithm.hpp"
#include "transport.hpp"

namespace shoal {
namespace {

class Dissemination final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;

  Seconds cost(Bytes, int ranks, const Network& net) const noexcept override {
    return Seconds(log2_ceil(ranks) * net.alpha);
  }

  void run(const Call& call) const override {
    const Communicator& comm = *call.comm;
    const int ranks = comm.size();
    for (int distance = 1; distance < ranks; distance *= 2) {
      Messages messages(comm, "barrier");
      messages.receive(nullptr, 0, (comm.rank() + ranks - distance) % ranks);
      messages.send(nullptr, 0, (comm.rank() + distance) % ranks);
      messages.wait();
    }
  }
};

}  // namespace

const Algorithm& barrier_dissemination() {
  static const Dissemination algorithm({Operation::barrier, "dissemination",
                                        "the fewest steps for any number of ranks",
                                        "Hensgen, Finkel & Manber 1988"});
  return algorithm;
}

}  // namespace shoal
