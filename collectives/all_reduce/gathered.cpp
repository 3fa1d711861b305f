// All-reduce that adds the inputs of all ranks at once, in the order of ranks, so that sums can be
// reproducible. Short messages: everybody gets all inputs and adds for itself. Long ones: each rank
// gets all inputs of its block (as much data as with partial sums), adds, and the blocks go around the
// ring.
//
// Cost: short ⌈log2 p⌉·α + (p−1)·n·(β + γ); long 2·(p−1)·α + (p−1)/p·n·(2β + γ). Where k of the p ranks
// share a node's link it carries k·(p−k)·n of the short form, and (k·(1−k/p) + (p−1)/p)·n of the long one.
// Source: the parts are from Thakur, Rabenseifner & Gropp 2005, sections 3.1 and 3.4.
#include "algorithm.hpp"
#include "reduce/reduce.hpp"
#include "scratch.hpp"
#include "tuning/parameters.hpp"

namespace shoal {
namespace {

bool gathers(Bytes bytes, int ranks) {
  return bytes * static_cast<Bytes>(ranks) <= parameter(Parameter::gathered_short_bytes);
}

class Gathered final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;
  bool reproduces() const noexcept override { return true; }

  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    const double n = static_cast<double>(bytes);
    const double others = ranks - 1;
    const double sharing = net.nodes == 1 ? 1 : net.per_node;
    if (gathers(bytes, ranks)) {
      return Seconds(log2_ceil(ranks) * net.alpha +
                     n * (sharing * (ranks - sharing) * net.beta + others * net.gamma));
    }
    return Seconds(2 * others * net.alpha +
                   n * ((sharing * (1 - sharing / ranks) + others / ranks) * net.beta +
                        others / ranks * net.gamma));
  }

  void run(const Call& call) const override {
    if (gathers(call.bytes(), call.comm->size())) return gather_and_reduce(call);
    const std::vector<Index> counts = even_counts(call.count, call.comm->size());
    const std::vector<Index> starts = starts_of(counts);
    auto* out = static_cast<std::byte*>(call.out);
    const auto me = static_cast<std::size_t>(call.comm->rank());
    direct_reduce_scatter(call, starts, counts,
                          out + static_cast<Bytes>(starts[me]) * size_of(call.type));
    ring_all_gather(call, out, counts);
  }

 private:
  static void gather_and_reduce(const Call& call) {
    const int ranks = call.comm->size();
    const Scratch all(*call.comm, call.bytes() * static_cast<Bytes>(ranks));
    const std::vector<Index> counts(static_cast<std::size_t>(ranks), call.count);
    Call gather = call;
    gather.operation = Operation::all_gather;
    gather.out = all.data();
    gather.counts = counts;
    gather.count = call.count * ranks;
    all_gather_bruck().run(gather);
    std::vector<const void*> inputs;
    for (Rank rank = 0; rank < ranks; ++rank) {
      inputs.push_back(all.data() + static_cast<Bytes>(rank) * call.bytes());
    }
    void* out = call.out;
    reduce_elements(inputs.data(), ranks, &out, 1, call.count, call.type, call.op, ranks, false);
  }
};

}  // namespace

const Algorithm& all_reduce_gathered() {
  static const Gathered algorithm({Operation::all_reduce, "gathered",
                                 "reproducible sums: every input goes to the rank that adds",
                                 "Thakur, Rabenseifner & Gropp 2005, sections 3.1 and 3.4"});
  return algorithm;
}

}  // namespace shoal
