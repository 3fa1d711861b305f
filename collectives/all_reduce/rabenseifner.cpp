// All-reduce by Rabenseifner: reduce-scatter by recursive halving, then all-gather by recursive
// doubling. Few steps and the least data: the choice for the middle.
//
// Cost: 2·log2(p)·α + 2·(p−1)/p·n·β + (p−1)/p·n·γ; two more exchanges of n where p is no power of two.
// Source: Rabenseifner 2004, Optimization of Collective Reduction Operations; Thakur et al. 2005,
// section 4.2.
#include <vector>

#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/placement.hpp>

#include "algorithm.hpp"
#include "reduce/reduce.hpp"
#include "transport.hpp"

namespace shoal {
namespace {

class Rabenseifner final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;

  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    const double n = static_cast<double>(bytes);
    const int core = power_of_two_below(ranks);
    const double share = static_cast<double>(core - 1) / core;
    const double fold = core == ranks ? 0.0 : 2 * (net.alpha + n * net.beta) + n * net.gamma;
    return Seconds(2 * log2_ceil(core) * net.alpha + 2 * share * n * net.beta +
                   share * n * net.gamma + fold);
  }

  void run(const Call& call) const override {
    const Communicator& comm = *call.comm;
    const int core = power_of_two_below(comm.size());
    const int rest = comm.size() - core;
    const Rank me = comm.rank();
    const Bytes element = size_of(call.type);
    auto* data = static_cast<std::byte*>(call.out);
    copy_elements(call.out, call.in, call.bytes());
    const Buffer<std::byte> incoming(static_cast<Index>(call.bytes()));

    if (me >= core) {
      Messages messages(comm, "all_reduce");
      messages.send(data, call.bytes(), me - core);
      messages.wait();
      messages.receive(data, call.bytes(), me - core);
      messages.wait();
      return;
    }
    if (me < rest) {
      Messages messages(comm, "all_reduce");
      messages.receive(incoming.data(), call.bytes(), me + core);
      messages.wait();
      reduce_into(data, incoming.data(), call.count, call.type, call.op);
    }

    // Blocks [first, first + blocks) are still this rank's; each step gives half of them away.
    const auto range = [&](Index first, Index blocks) {
      const Index begin = block_of(call.count, core, first).begin;
      return Block{begin, block_of(call.count, core, first + blocks - 1).end() - begin};
    };
    const auto at = [&](const Block& block) {
      return data + static_cast<Bytes>(block.begin) * element;
    };
    const auto bytes = [&](const Block& block) { return static_cast<Bytes>(block.size) * element; };
    Index first = 0;
    Index blocks = core;
    while (blocks > 1) {
      const Index half = blocks / 2;
      const bool upper = me >= first + half;
      const Rank peer = static_cast<Rank>(upper ? me - half : me + half);
      const Block keep = range(upper ? first + half : first, half);
      const Block give = range(upper ? first : first + half, half);
      Messages messages(comm, "all_reduce");
      messages.receive(incoming.data(), bytes(keep), peer);
      messages.send(at(give), bytes(give), peer);
      messages.wait();
      reduce_into(at(keep), incoming.data(), keep.size, call.type, call.op);
      if (upper) first += half;
      blocks = half;
    }
    const Block mine = range(me, 1);
    finish_average(at(mine), mine.size, call.type, call.op, comm.size());

    // The way back: ranges double.
    for (Index half = 1; half < core; half *= 2) {
      const Index own_first = me / half * half;
      const Index peer_first = own_first ^ half;
      const Block own = range(own_first, half);
      const Block theirs = range(peer_first, half);
      const Rank peer = static_cast<Rank>(me ^ half);
      Messages messages(comm, "all_reduce");
      messages.receive(at(theirs), bytes(theirs), peer);
      messages.send(at(own), bytes(own), peer);
      messages.wait();
    }
    if (me < rest) {
      Messages messages(comm, "all_reduce");
      messages.send(data, call.bytes(), me + core);
      messages.wait();
    }
  }
};

}  // namespace

const Algorithm& all_reduce_rabenseifner() {
  static const Rabenseifner algorithm({Operation::all_reduce, "rabenseifner",
                                       "middle sizes: few steps, the least data",
                                       "Rabenseifner 2004; Thakur et al. 2005, section 4.2"});
  return algorithm;
}

}  // namespace shoal
