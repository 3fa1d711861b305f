#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include <shoal/collectives/caches.hpp>
#include <shoal/runtime/error.hpp>

#include "node/node_collectives.hpp"
#include "node/pieces.hpp"
#include "node/reading.hpp"
#include "reduce/reduce.hpp"
#include "transport.hpp"

namespace shoal {
namespace {

// Elements that each rank sends to each in an all-to-all.
class Traffic {
 public:
  Traffic(int ranks, Index each) : ranks_(ranks), each_(each), longest_(each) {}
  /// From what each rank published: what it sends, then what it expects, by rank. Throws Error, on
  /// all ranks alike, if two do not agree.
  Traffic(const Communicator& comm, NodeControl& control);

  Index count(Rank from, Rank to) const { return counts_.empty() ? each_ : at(from, to); }
  /// Where in its input `from` keeps what it sends to `to`.
  Index start(Rank from, Rank to) const {
    if (counts_.empty()) return each_ * to;
    Index sum = 0;
    for (Rank rank = 0; rank < to; ++rank) sum += at(from, rank);
    return sum;
  }
  Index longest() const { return longest_; }

 private:
  Index at(Rank from, Rank to) const {
    return counts_[static_cast<std::size_t>(from) * static_cast<std::size_t>(ranks_) +
                   static_cast<std::size_t>(to)];
  }

  int ranks_;
  Index each_ = 0;
  Index longest_ = 0;
  std::vector<Index> counts_;  // by sender, then by receiver; empty: each_
};

Traffic::Traffic(const Communicator& comm, NodeControl& control) : ranks_(comm.size()) {
  const auto published = [&](Rank rank, Rank entry) {
    return reinterpret_cast<const Index*>(control.stage_of(rank, 0))[entry];
  };
  for (Rank from = 0; from < ranks_; ++from) {
    for (Rank to = 0; to < ranks_; ++to) {
      const Index sent = published(from, to);
      const Index expected = published(to, ranks_ + from);
      if (sent != expected) {
        throw Error("all_to_all over " + comm.name(),
                    name_of_rank(comm, from) + " sends " + std::to_string(sent) +
                        " elements to " + name_of_rank(comm, to) + ", which expects " +
                        std::to_string(expected),
                    "make the counts of the two agree");
      }
      counts_.push_back(sent);
      longest_ = std::max(longest_, sent);
    }
  }
}

}  // namespace

bool node_all_to_all(const Call& call, NodePath path) {
  const Communicator& comm = *call.comm;
  NodeControl& control = node_control(comm);
  const int ranks = comm.size();
  const Rank me = comm.rank();
  const Bytes element = size_of(call.type);
  const bool even = call.receive_counts.empty();
  const Announced announced(control, call, announcement_on(call, path), path, Needs::inputs);
  const Way way = announced.way();
  if (way == Way::elsewhere) return false;
  const Index tables = even ? 0 : 1;  // the first chunk of an uneven exchange
  if (!even) {
    std::byte* mine = control.stage_of(me, 0);
    const Bytes half_table = static_cast<Bytes>(ranks) * sizeof(Index);
    std::memcpy(mine, call.counts.data(), half_table);
    std::memcpy(mine + half_table, call.receive_counts.data(), half_table);
    control.meet();
  }
  const Traffic traffic = even ? Traffic(ranks, call.counts.front()) : Traffic(comm, control);
  std::vector<Bytes> places;  // where in the output each rank's block goes
  Bytes place = 0;
  for (Rank rank = 0; rank < ranks; ++rank) {
    places.push_back(place);
    place += static_cast<Bytes>(traffic.count(rank, me)) * element;
  }
  const auto bytes = [&](Rank from, Rank to) {
    return static_cast<Bytes>(traffic.count(from, to)) * element;
  };
  const auto start = [&](Rank from, Rank to) {
    return static_cast<Bytes>(traffic.start(from, to)) * element;
  };

  if (way == Way::direct) {
    for (int step = 0; step < ranks; ++step) {
      const Rank rank = (me + step) % ranks;
      const void* from = rank == me ? call.in : input_of(control, rank);
      copy_elements(bytes_at(call.out, places[static_cast<std::size_t>(rank)]),
                    bytes_at(from, start(rank, me)), bytes(rank, me));
    }
    control.meet();
    control.end_chunks(tables);
    return true;
  }
  if (way == Way::read) {
    std::vector<Incoming> blocks;
    for (Rank rank = 0; rank < ranks; ++rank) {
      blocks.push_back({start(rank, me), places[static_cast<std::size_t>(rank)], bytes(rank, me)});
    }
    reading_all_to_all(call, control, blocks);
    control.end_chunks(tables);
    return true;
  }
  // A stage holds a piece of the block for every other rank, one after the other. Each piece of the input goes
  // there before one as far on in its block comes, so that with even blocks the output may be the input.
  const Bytes piece = std::max<Bytes>(1, control.stage_bytes() / static_cast<Bytes>(ranks));
  const Bytes longest = static_cast<Bytes>(traffic.longest()) * element;
  const auto chunks = static_cast<Index>((longest + piece - 1) / piece);
  const bool stream = outgrows_caches(2 * call.bytes(), ranks);
  const auto begin = [&](Index chunk) { return static_cast<Bytes>(chunk) * piece; };
  const auto length = [&](Rank from, Rank to, Index chunk) {
    const Bytes all = bytes(from, to);
    return begin(chunk) < all ? std::min(piece, all - begin(chunk)) : Bytes{0};
  };
  const auto copy_in = [&](Index chunk) {
    std::byte* stage = control.stage_of(me, tables + chunk);
    for (Rank to = 0; to < ranks; ++to) {
      if (to == me) continue;
      copy_piece(stage + static_cast<Bytes>(to) * piece,
                 bytes_at(call.in, start(me, to) + begin(chunk)), length(me, to, chunk), false);
    }
  };
  if (chunks > 0) copy_in(0);
  for (Index chunk = 0; chunk < chunks; ++chunk) {
    control.meet();
    if (chunk + 1 < chunks) copy_in(chunk + 1);
    for (int step = 0; step < ranks; ++step) {
      const Rank from = (me + step) % ranks;
      if (from == me && call.in == call.out) continue;
      const std::byte* source =
          from == me ? bytes_at(call.in, start(me, me) + begin(chunk))
                     : control.stage_of(from, tables + chunk) + static_cast<Bytes>(me) * piece;
      copy_piece(bytes_at(call.out, places[static_cast<std::size_t>(from)] + begin(chunk)), source,
                 length(from, me, chunk), stream);
    }
  }
  control.end_chunks(tables + chunks);
  return true;
}

}  // namespace shoal
