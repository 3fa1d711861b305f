// All-gather by Bruck's algorithm: in step k a rank passes all it has to the one 2^k before it. The
// fewest steps for any number of ranks.
//
// Cost: ⌈log2 p⌉·α + (p−1)/p·n·β.
// Source: Bruck et al. 1997, Efficient Algorithms for All-to-All Communications in Multiport
// Message-Passing Systems.
#include <algorithm>

#include "algorithm.hpp"
#include "plan/swap.hpp"
#include "reduce/reduce.hpp"
#include "scratch.hpp"

namespace shoal {
namespace {

class Bruck final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;

  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    // The blocks arrive rotated: one more pass through memory puts them in place.
    const double share = static_cast<double>(ranks - 1) / ranks;
    const double n = static_cast<double>(bytes);
    return Seconds(log2_ceil(ranks) * net.alpha + share * n * net.beta + n * net.gamma);
  }

  void run(const Call& call) const override {
    const Communicator& comm = *call.comm;
    const int ranks = comm.size();
    const Bytes element = size_of(call.type);
    const auto count_of = [&](int step) {
      return call.counts[static_cast<std::size_t>((comm.rank() + step) % ranks)];
    };
    // ends[k]: bytes of the first k blocks, counted from this rank's own.
    std::vector<Bytes> ends(1, 0);
    for (int k = 0; k < ranks; ++k) {
      ends.push_back(ends.back() + static_cast<Bytes>(count_of(k)) * element);
    }
    const auto at = [&](int k) { return ends[static_cast<std::size_t>(k)]; };
    const Scratch rotated(comm, ends.back());
    copy_elements(rotated.data(), call.in, at(1));
    for (int have = 1; have < ranks; have *= 2) {
      const int more = std::min(have, ranks - have);
      swap_messages(comm, "all_gather",
                    {.data = rotated.data(),
                     .bytes = at(more),
                     .to = (comm.rank() + ranks - have) % ranks,
                     .into = rotated.data() + at(have),
                     .expected = at(have + more) - at(have),
                     .from = (comm.rank() + have) % ranks});
    }
    const std::vector<Index> starts = starts_of(call.counts);
    for (int k = 0; k < ranks; ++k) {
      const auto rank = static_cast<std::size_t>((comm.rank() + k) % ranks);
      copy_elements(static_cast<std::byte*>(call.out) + static_cast<Bytes>(starts[rank]) * element,
                  rotated.data() + at(k), at(k + 1) - at(k));
    }
  }
};

}  // namespace

const Algorithm& all_gather_bruck() {
  static const Bruck algorithm({Operation::all_gather, "bruck",
                                "short messages: the fewest steps for any number of ranks",
                                "Bruck et al. 1997"});
  return algorithm;
}

}  // namespace shoal
