#include <algorithm>

#include "algorithm.hpp"
#include "reduce/reduce.hpp"
#include "scratch.hpp"
#include "transport.hpp"

namespace shoal {
namespace {

// Of what arrives at a time, from all ranks together; and of the piece from one, however many ranks.
constexpr Bytes window_bytes = Bytes{16} << 20;
constexpr Bytes least_piece = Bytes{64} << 10;

}  // namespace

void direct_reduce_scatter(const Call& call, std::span<const Index> starts,
                           std::span<const Index> counts, void* out) {
  const Communicator& comm = *call.comm;
  const int ranks = comm.size();
  const Rank me = comm.rank();
  const Bytes element = size_of(call.type);
  const auto at = [](Rank rank) { return static_cast<std::size_t>(rank); };
  const auto* in = static_cast<const std::byte*>(call.in);
  const Index longest = *std::max_element(counts.begin(), counts.end());
  const Bytes piece_bytes = std::max(least_piece, window_bytes / static_cast<Bytes>(ranks));
  const Index piece = std::min(longest, static_cast<Index>(piece_bytes / element));
  const Bytes stride = static_cast<Bytes>(piece) * element;
  const Scratch incoming(comm, stride * static_cast<Bytes>(ranks));
  std::vector<const void*> inputs(at(ranks));

  for (Index begin = 0; begin < longest; begin += piece) {
    const auto length = [&](Rank rank) {
      return std::clamp<Index>(counts[at(rank)] - begin, 0, piece);
    };
    const auto block_of_rank = [&](Rank rank) {
      return in + static_cast<Bytes>(starts[at(rank)] + begin) * element;
    };
    Messages messages(comm, name_of(call.operation).data());
    // Everyone starts with its neighbour, so that not all send to the same rank at once.
    for (int step = 1; step < ranks; ++step) {
      const Rank from = (me + ranks - step) % ranks;
      const Rank to = (me + step) % ranks;
      if (length(me) > 0) {
        messages.receive(incoming.data() + at(from) * stride,
                         static_cast<Bytes>(length(me)) * element, from);
      }
      if (length(to) > 0) {
        messages.send(block_of_rank(to), static_cast<Bytes>(length(to)) * element, to);
      }
    }
    messages.wait();
    if (length(me) == 0) continue;
    for (Rank rank = 0; rank < ranks; ++rank) {
      inputs[at(rank)] = rank == me ? block_of_rank(me) : incoming.data() + at(rank) * stride;
    }
    void* result = static_cast<std::byte*>(out) + static_cast<Bytes>(begin) * element;
    reduce_elements(inputs.data(), ranks, &result, 1, length(me), call.type, call.op, ranks, false);
  }
}

}  // namespace shoal
