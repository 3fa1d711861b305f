#include "node/node_collectives.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include <shoal/collectives/caches.hpp>
#include <shoal/runtime/cores.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/wait.hpp>

#include "algorithm.hpp"
#include "node/peer_memory.hpp"
#include "node/pieces.hpp"
#include "node/staged.hpp"
#include "reduce/reduce.hpp"
#include "transport.hpp"
#include "tuning/parameters.hpp"

namespace shoal {
namespace {

// FNV-1a, 64 bits.
std::uint64_t hash_of(std::span<const Index> counts) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const Index count : counts) {
    hash = (hash ^ static_cast<std::uint64_t>(count)) * 0x100000001b3u;
  }
  return hash;
}

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

std::string why_no_node_path(const Call& call) {
  if (!call.comm->on_one_node()) return "the ranks are on several nodes";
  if (!node_control(*call.comm).usable()) {
    const std::string reason = node_memory::why_not();
    return "there is no node-shared memory" + (reason.empty() ? "" : " (" + reason + ")");
  }
  return {};
}

namespace {

// Elements of this rank's input.
Index input_count(const Call& call) {
  switch (call.operation) {
    case Operation::all_gather: return call.counts[static_cast<std::size_t>(call.comm->rank())];
    case Operation::all_to_all:
      return std::accumulate(call.counts.begin(), call.counts.end(), Index{0});
    default: return call.count;
  }
}

}  // namespace

Announcement announcement_of(const Call& call, NodePath path) {
  Announcement mine;
  mine.operation = static_cast<std::uint8_t>(call.operation);
  mine.type = static_cast<std::uint8_t>(call.type);
  mine.op = static_cast<std::uint8_t>(call.op);
  mine.count = call.count;
  mine.root = static_cast<std::uint32_t>(call.root) & 0xffffff;
  mine.variant = call.variant;
  mine.purpose = static_cast<std::uint8_t>(call.purpose) & 3;
  mine.declined = path == NodePath::declined ? 1 : 0;
  mine.shares = ranks_own_their_cores() ? 0 : 1;
  // What each rank of an all-to-all sends is its own affair; see Traffic.
  if (call.operation == Operation::all_to_all) {
    if (!call.receive_counts.empty()) mine.count = -1;
  } else if (!call.counts.empty()) {
    mine.layout = hash_of(call.counts);
  }
  return mine;
}

Announcement announcement_on(const Call& call, NodePath path) {
  Announcement mine = announcement_of(call, path);
  const auto private_at = [](const void* data) {
    return node_memory::Location{-1, reinterpret_cast<std::uint64_t>(data)};
  };
  // An empty input may be anywhere: nobody will read it.
  const node_memory::Location nowhere{0, 0};
  mine.at.in = node_memory::locate(call.in).value_or(input_count(call) == 0 ? nowhere : private_at(call.in));
  mine.at.out = node_memory::locate(call.out).value_or(private_at(call.out));
  return mine;
}

void announce_stage(NodeControl& control, const Call& staged) {
  control.announce(announcement_on(staged), nullptr, 0);
  if (control.all_shared(true, true)) return;
  throw Error(std::string(name_of(staged.operation)) + " over " + staged.comm->name(),
              "a rank of this node has no node-shared memory left for its stage",
              "free some, or choose an algorithm that sends messages");
}

namespace {

// Where all ranks go after they have announced a call.
enum class Way { elsewhere, direct, staged };

Way announce_and_choose(NodeControl& control, const Call& call, const Announcement& mine,
                        NodePath path, bool in_matters, bool out_matters) {
  control.announce(mine, nullptr, 0);
  if (control.any_declined()) return Way::elsewhere;
  if (path == NodePath::staged) return Way::staged;
  const bool direct = control.all_shared(in_matters, out_matters);
  if (path == NodePath::zero_copy && !direct) {
    throw Error(std::string(name_of(call.operation)) + " over " + call.comm->name(),
                "node_shared was asked for, but a rank's buffer is private",
                "use Buffer with Memory::node_shared on all ranks, or node_staged");
  }
  return direct ? Way::direct : Way::staged;
}

// Whether the data goes through the slots; alike on all ranks.
bool goes_inline(NodePath path, Bytes bytes) {
  return bytes <= parameter(Parameter::inline_bytes) && path != NodePath::staged;
}

// Announces with the data in the slot; false if some rank declines.
bool announce_inline(NodeControl& control, const Call& call, NodePath path, Bytes bytes,
                     bool has_data) {
  // Beside so little data as lies in the announcement itself there is no room to say where the rest is.
  Announcement mine = bytes > Announcement::tiny_bytes ? announcement_on(call, path)
                                                       : announcement_of(call, path);
  mine.inlined = has_data && path != NodePath::declined ? 1 : 0;
  control.announce(mine, call.in, bytes);
  return !control.any_declined();
}

}  // namespace

namespace {

// So long an all-reduce is shared out where ranks share cores. In longer ones it pays more that each
// rank always works on the same part of a buffer: what it touches for the first time costs a page fault.
constexpr Bytes most_shared_out = 1 << 20;

// Bytes of a part, whole lines, where ranks share out an all-reduce over so many cores: small enough that
// nobody waits long for the last, large enough that to take one costs nothing.
Index part_size(Bytes bytes, int cores) {
  constexpr Bytes least = 4 << 10;
  constexpr Bytes most = 256 << 10;
  return static_cast<Index>(
      std::clamp(bytes / static_cast<Bytes>(2 * cores) / 64 * 64, least, most));
}

// From here on a thread that waits beside computation reads the others' buffers rather than meet them at every
// chunk of a stage.
constexpr Bytes least_read = 1 << 20;

// Calls of the same length in a row mostly have the same buffers. Where these do not quite fit the second
// level, one that goes through them as the last did finds nothing there any more; one that goes the other way
// finds what came last. (2 ranks, 1 MiB, an AMD EPYC 9005: 35 µs without, 29 with.)
constexpr Bytes strip_bytes = 32 << 10;

bool fills_second_level(Bytes touched, int ranks) {
  return bytes_on_core(touched, ranks, node_threads()) >= caches_here().second;
}

}  // namespace

bool node_barrier(const Call& call, NodePath path) {
  NodeControl& control = node_control(*call.comm);
  control.announce(announcement_of(call, path), nullptr, 0);
  return !control.any_declined();
}

// Bound: with p ranks and n bytes, p·n bytes read and p·n written in all, each rank its p-th part.
bool node_all_reduce(const Call& call, NodePath path) {
  const Communicator& comm = *call.comm;
  NodeControl& control = node_control(comm);
  const int ranks = comm.size();
  const Bytes element = size_of(call.type);

  // From here on it is quicker to meet twice than to copy the data into the slot and to have every rank
  // read all of it, if the buffers are shared: which nobody knows until all have said so. Those of the
  // last call of that size tell, to all alike.
  constexpr Bytes least_direct = 1 << 10;
  const bool may_be_direct = call.bytes() >= least_direct && goes_inline(path, call.bytes()) &&
                             path != NodePath::zero_copy;
  const bool expects_direct = may_be_direct && control.last_was_shared();
  if (goes_inline(path, call.bytes()) && !expects_direct) {
    if (!announce_inline(control, call, path, call.bytes(), true)) return false;
    if (may_be_direct) control.note_shared();
    std::vector<const void*>& inputs = control.pointers();
    for (Rank rank = 0; rank < ranks; ++rank) {
      inputs[static_cast<std::size_t>(rank)] = control.inline_of(rank, call.bytes());
    }
    void* out = call.out;
    reduce_elements(inputs.data(), ranks, &out, 1, call.count, call.type, call.op, ranks, false);
    return true;
  }

  Announcement mine = announcement_on(call, path);
  StagedAllReduce staged(call, control);
  // Whoever has a private buffer knows that all will stage, and can begin before it has heard of them.
  const bool sure = path == NodePath::staged ||
                    (path == NodePath::any && (mine.at.in.owner < 0 || mine.at.out.owner < 0));
  const bool may_read = path == NodePath::any && call.bytes() >= least_read;
  if (may_read && naps_in_this_thread()) {
    mine.beside = 1;
  } else if (sure && control.has_stages()) {
    staged.begin();
    mine.staged = 1;
  }
  const Way way = announce_and_choose(control, call, mine, path, true, true);
  if (may_be_direct) control.note_shared();
  switch (way) {
    case Way::elsewhere: return false;
    case Way::staged:
      if (may_read && control.any_beside() && comm.extension<PeerMemory>().readable(control)) {
        reading_all_reduce(call, control);
        return true;
      }
      if (!control.all_staged()) {
        if (!mine.staged) staged.begin();
        control.meet();
      }
      staged.finish();
      return true;
    case Way::direct: break;
  }
  const bool stream = outgrows_caches(2 * call.bytes(), ranks) && !reduces_in_place(control, ranks);
  std::vector<const void*>& inputs = control.pointers();
  std::vector<void*> outputs(static_cast<std::size_t>(ranks));
  const auto reduce = [&](const Block& part) {
    const Bytes offset = static_cast<Bytes>(part.begin) * element;
    for (Rank rank = 0; rank < ranks; ++rank) {
      inputs[static_cast<std::size_t>(rank)] = bytes_at(input_of(control, rank), offset);
      outputs[static_cast<std::size_t>(rank)] = bytes_at(output_of(control, rank), offset);
    }
    reduce_elements(inputs.data(), ranks, outputs.data(), ranks, part.size, call.type, call.op,
                    ranks, stream);
  };
  const bool backwards = control.turns_back() && !stream && fills_second_level(2 * call.bytes(), ranks);
  if (control.of(0).shares == 0 || call.bytes() > most_shared_out) {
    const Block share = segment_of(call.count, call.type, ranks, comm.rank());
    if (backwards) {
      in_strips_from_end(share, static_cast<Index>(strip_bytes / element), reduce);
    } else {
      reduce(share);
    }
    control.meet();
    return true;
  }
  // Who has a core works: the last to announce the call mostly does it all, and needs no other rank to
  // be given a core once more.
  const Index size = part_size(call.bytes(), control.sharing_cores()) / static_cast<Index>(element);
  control.share_out((call.count + size - 1) / size, [&](Index number) {
    const Index begin = number * size;
    reduce({begin, std::min(size, call.count - begin)});
  });
  return true;
}

bool node_reduce_scatter(const Call& call, NodePath path) {
  const Communicator& comm = *call.comm;
  NodeControl& control = node_control(comm);
  const int ranks = comm.size();
  switch (announce_and_choose(control, call, announcement_on(call, path), path, true, false)) {
    case Way::elsewhere: return false;
    case Way::staged: staged_reduce_scatter(call, control); return true;
    case Way::direct: break;
  }
  const auto me = static_cast<std::size_t>(comm.rank());
  const Bytes start = static_cast<Bytes>(starts_of(call.counts)[me]) * size_of(call.type);
  std::vector<const void*>& inputs = control.pointers();
  for (Rank rank = 0; rank < ranks; ++rank) {
    inputs[static_cast<std::size_t>(rank)] = bytes_at(input_of(control, rank), start);
  }
  void* out = call.out;
  const bool stream = outgrows_caches(call.bytes(), ranks);
  reduce_elements(inputs.data(), ranks, &out, 1, call.counts[me], call.type, call.op, ranks, stream);
  control.meet();
  return true;
}

bool node_all_gather(const Call& call, NodePath path) {
  const Communicator& comm = *call.comm;
  NodeControl& control = node_control(comm);
  const int ranks = comm.size();
  const Bytes element = size_of(call.type);
  const std::vector<Index> starts = starts_of(call.counts);
  const auto bytes_of = [&](Rank rank) {
    return static_cast<Bytes>(call.counts[static_cast<std::size_t>(rank)]) * element;
  };
  const auto place_of = [&](Rank rank) {
    return bytes_at(call.out, static_cast<Bytes>(starts[static_cast<std::size_t>(rank)]) * element);
  };
  const Index longest = *std::max_element(call.counts.begin(), call.counts.end());

  if (goes_inline(path, static_cast<Bytes>(longest) * element)) {
    if (!announce_inline(control, call, path, bytes_of(comm.rank()), true)) return false;
    for (Rank rank = 0; rank < ranks; ++rank) {
      copy_piece(place_of(rank), control.inline_of(rank, bytes_of(rank)), bytes_of(rank), false);
    }
    return true;
  }
  switch (announce_and_choose(control, call, announcement_on(call, path), path, true, false)) {
    case Way::elsewhere: return false;
    case Way::staged: staged_all_gather(call, control); return true;
    case Way::direct: break;
  }
  // Each rank starts with its neighbour's, so that they do not all read the same memory at once.
  for (int step = 0; step < ranks; ++step) {
    const Rank rank = (comm.rank() + step) % ranks;
    const void* from = rank == comm.rank() ? call.in : input_of(control, rank);
    copy_elements(place_of(rank), from, bytes_of(rank));
  }
  control.meet();
  return true;
}

bool node_broadcast(const Call& call, NodePath path) {
  const Communicator& comm = *call.comm;
  NodeControl& control = node_control(comm);
  const bool root = comm.rank() == call.root;

  if (goes_inline(path, call.bytes())) {
    if (!announce_inline(control, call, path, call.bytes(), root)) return false;
    if (!root) copy_piece(call.out, control.inline_of(call.root, call.bytes()), call.bytes(), false);
    return true;
  }
  control.announce(announcement_on(call, path), nullptr, 0);
  if (control.any_declined()) return false;
  const bool direct = path != NodePath::staged && control.of(call.root).at.in.owner >= 0;
  if (path == NodePath::zero_copy && !direct) {
    throw Error("broadcast over " + comm.name(),
                "node_shared was asked for, but the root's buffer is private",
                "use Buffer with Memory::node_shared, or node_staged");
  }
  if (!direct) {
    staged_broadcast(call, control);
    return true;
  }
  if (!root) copy_elements(call.out, input_of(control, call.root), call.bytes());
  control.meet();
  return true;
}

bool node_all_to_all(const Call& call, NodePath path) {
  const Communicator& comm = *call.comm;
  NodeControl& control = node_control(comm);
  const int ranks = comm.size();
  const Rank me = comm.rank();
  const Bytes element = size_of(call.type);
  const bool even = call.receive_counts.empty();
  const Way way =
      announce_and_choose(control, call, announcement_on(call, path), path, true, false);
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
  // A stage holds a piece of the block for every other rank, one after the other.
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
