// All-reduce by recursive doubling: in step k ranks at distance 2^k exchange all their data. The
// fewest steps there are, so the choice for short messages.
//
// Cost: log2(p)·(α + n·β + n·γ); two more exchanges of n where p is no power of two.
// Source: Thakur, Rabenseifner & Gropp 2005, Optimization of Collective Communication Operations in
// MPICH, section 4.1.

#include <shoal/runtime/buffer.hpp>

#include "algorithm.hpp"
#include "reduce/reduce.hpp"
#include "transport.hpp"

namespace shoal {
namespace {

class RecursiveDoubling final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;

  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    const double n = static_cast<double>(bytes);
    const int core = power_of_two_below(ranks);
    const int steps = log2_ceil(core);
    const double fold = core == ranks ? 0.0 : 2 * (net.alpha + n * net.beta) + n * net.gamma;
    return Seconds(steps * (net.alpha + n * net.beta + n * net.gamma) + fold);
  }

  void run(const Call& call) const override {
    const Communicator& comm = *call.comm;
    const int core = power_of_two_below(comm.size());
    const int rest = comm.size() - core;
    const Rank me = comm.rank();
    copy_elements(call.out, call.in, call.bytes());
    const Buffer<std::byte> incoming(static_cast<Index>(call.bytes()));

    // Ranks beyond the largest power of two hand their data to a partner and get the result later.
    if (me >= core) {
      Messages messages(comm, "all_reduce");
      messages.send(call.out, call.bytes(), me - core);
      messages.wait();
      messages.receive(call.out, call.bytes(), me - core);
      messages.wait();
      return;
    }
    if (me < rest) {
      Messages messages(comm, "all_reduce");
      messages.receive(incoming.data(), call.bytes(), me + core);
      messages.wait();
      reduce_into(call.out, incoming.data(), call.count, call.type, call.op);
    }
    for (int distance = 1; distance < core; distance *= 2) {
      const Rank peer = me ^ distance;
      Messages messages(comm, "all_reduce");
      messages.receive(incoming.data(), call.bytes(), peer);
      messages.send(call.out, call.bytes(), peer);
      messages.wait();
      // Both partners combine in the order of their ranks: min(+0, −0) and sums of two NaNs depend on
      // it, and all ranks must end with the same bits.
      if (peer < me) {
        reduce_onto(call.out, incoming.data(), call.count, call.type, call.op);
      } else {
        reduce_into(call.out, incoming.data(), call.count, call.type, call.op);
      }
    }
    finish_average(call.out, call.count, call.type, call.op, comm.size());
    if (me < rest) {
      Messages messages(comm, "all_reduce");
      messages.send(call.out, call.bytes(), me + core);
      messages.wait();
    }
  }
};

}  // namespace

const Algorithm& all_reduce_recursive_doubling() {
  static const RecursiveDoubling algorithm(
      {Operation::all_reduce, "recursive_doubling", "short messages: the fewest steps",
       "Thakur, Rabenseifner & Gropp 2005, section 4.1"});
  return algorithm;
}

}  // namespace shoal
