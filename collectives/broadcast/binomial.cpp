// Broadcast along a binomial tree: the ranks that have the data double in each step.
//
// Cost: ⌈log2 p⌉·(α + n·β).
// Source: Thakur et al. 2005, section 3.4.
#include "algorithm.hpp"
#include "transport.hpp"

namespace shoal {
namespace {

class Binomial final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;

  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    return Seconds(log2_ceil(ranks) * (net.alpha + static_cast<double>(bytes) * net.beta));
  }

  void run(const Call& call) const override {
    const Communicator& comm = *call.comm;
    const int ranks = comm.size();
    const int place = (comm.rank() - call.root + ranks) % ranks;  // the root's is 0
    const auto rank_at = [&](int p) { return (p + call.root) % ranks; };
    // Counted from the root, a rank receives from the place without its lowest set bit, and feeds
    // the places that add a lower bit to its own.
    int bit = 1;
    while (bit < ranks && (place & bit) == 0) bit *= 2;
    Messages messages(comm, "broadcast");
    if (place != 0) {
      messages.receive(call.out, call.bytes(), rank_at(place - bit));
      messages.wait();
    }
    for (bit /= 2; bit >= 1; bit /= 2) {
      if (place + bit < ranks) messages.send(call.out, call.bytes(), rank_at(place + bit));
    }
    messages.wait();
  }
};

}  // namespace

const Algorithm& broadcast_binomial() {
  static const Binomial algorithm({Operation::broadcast, "binomial",
                                   "short messages: the fewest steps",
                                   "Thakur et al. 2005, section 3.4"});
  return algorithm;
}

}  // namespace shoal
