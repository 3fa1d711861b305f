#include "node/node_collectives.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/placement.hpp>

#include "algorithm.hpp"
#include "reduce/reduce.hpp"
#include "transport.hpp"
#include "tuning/parameters.hpp"

namespace shoal {
namespace {

const std::byte* bytes_at(const void* base, Bytes offset) {
  return static_cast<const std::byte*>(base) + offset;
}
std::byte* bytes_at(void* base, Bytes offset) { return static_cast<std::byte*>(base) + offset; }

// Rank r's part of `count` elements, cut at cache lines so that no two ranks write the same one.
Block segment_of(Index count, DType type, int ranks, Rank rank) {
  const Index per_line = static_cast<Index>(64 / size_of(type));
  const Index lines = (count + per_line - 1) / per_line;
  const Block block = block_of(lines, ranks, rank);
  const Index begin = std::min(count, block.begin * per_line);
  return {begin, std::min(count, block.end() * per_line) - begin};
}

// memcpy, but 0 bytes from nowhere are allowed.
void copy_within_cache(void* to, const void* from, Bytes bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

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

Announcement announcement_of(const Call& call) {
  Announcement mine;
  mine.operation = static_cast<std::uint8_t>(call.operation);
  mine.type = static_cast<std::uint8_t>(call.type);
  mine.op = static_cast<std::uint8_t>(call.op);
  mine.count = call.count;
  mine.root = call.root;
  // What each rank of an all-to-all sends is its own affair; see Traffic.
  if (call.operation == Operation::all_to_all) {
    if (!call.receive_counts.empty()) mine.count = -1;
  } else if (!call.counts.empty()) {
    mine.layout = hash_of(call.counts);
  }
  // An empty input may be anywhere: nobody will read it.
  const node_memory::Location elsewhere{input_count(call) == 0 ? 0 : -1, 0};
  mine.in = node_memory::locate(call.in).value_or(elsewhere);
  mine.out = node_memory::locate(call.out).value_or(node_memory::Location{});
  return mine;
}

bool meet_and_choose(NodeControl& control, const Call& call, NodePath path, bool in_matters,
                     bool out_matters) {
  control.announce(announcement_of(call), nullptr, 0);
  if (path == NodePath::staged) return false;
  const bool direct = control.all_shared(in_matters, out_matters);
  if (path == NodePath::zero_copy && !direct) {
    throw Error(std::string(name_of(call.operation)) + " over " + call.comm->name(),
                "node_shared was asked for, but a rank's buffer is private",
                "use Buffer with Memory::node_shared on all ranks, or node_staged");
  }
  return direct;
}

void node_barrier(const Call& call) {
  node_control(*call.comm).announce(announcement_of(call), nullptr, 0);
}

// Bound: with p ranks and n bytes, p·n bytes read and p·n written in all, each rank its p-th part.
void node_all_reduce(const Call& call, NodePath path) {
  const Communicator& comm = *call.comm;
  NodeControl& control = node_control(comm);
  const int ranks = comm.size();
  const Bytes element = size_of(call.type);
  std::vector<const void*> inputs(static_cast<std::size_t>(ranks));
  std::vector<void*> outputs(static_cast<std::size_t>(ranks));

  if (call.bytes() <= parameter(Parameter::inline_bytes) && path != NodePath::staged) {
    Announcement mine = announcement_of(call);
    mine.inlined = 1;
    control.announce(mine, call.in, call.bytes());
    for (Rank rank = 0; rank < ranks; ++rank) {
      inputs[static_cast<std::size_t>(rank)] = control.inline_of(rank);
    }
    void* out = call.out;
    reduce_elements(inputs.data(), ranks, &out, 1, call.count, call.type, call.op, ranks, false);
    return;
  }

  if (meet_and_choose(control, call, path, true, true)) {
    const Block mine = segment_of(call.count, call.type, ranks, comm.rank());
    const Bytes offset = static_cast<Bytes>(mine.begin) * element;
    for (Rank rank = 0; rank < ranks; ++rank) {
      inputs[static_cast<std::size_t>(rank)] = bytes_at(input_of(control, rank), offset);
      outputs[static_cast<std::size_t>(rank)] = bytes_at(output_of(control, rank), offset);
    }
    const bool stream = call.bytes() * 2 >= stream_threshold();
    reduce_elements(inputs.data(), ranks, outputs.data(), ranks, mine.size, call.type, call.op,
                    ranks, stream);
    control.meet();
    return;
  }

  const Index per_chunk = static_cast<Index>(control.stage_bytes() / element);
  int half = 0;
  for (Index begin = 0; begin < call.count; begin += per_chunk, half ^= 1) {
    const Index length = std::min(per_chunk, call.count - begin);
    const Bytes at = static_cast<Bytes>(begin) * element;
    copy_within_cache(control.stage_of(comm.rank(), half), bytes_at(call.in, at),
                static_cast<Bytes>(length) * element);
    control.meet();
    // This rank reduces its part of the chunk into everyone's stage, where it lies in the cache.
    const Block mine = segment_of(length, call.type, ranks, comm.rank());
    const Bytes offset = static_cast<Bytes>(mine.begin) * element;
    for (Rank rank = 0; rank < ranks; ++rank) {
      inputs[static_cast<std::size_t>(rank)] = control.stage_of(rank, half) + offset;
    }
    void* result = control.stage_of(comm.rank(), half) + offset;
    reduce_elements(inputs.data(), ranks, &result, 1, mine.size, call.type, call.op, ranks, false);
    control.meet();
    for (Rank rank = 0; rank < ranks; ++rank) {
      const Block theirs = segment_of(length, call.type, ranks, rank);
      const Bytes part = static_cast<Bytes>(theirs.begin) * element;
      copy_within_cache(bytes_at(call.out, at + part), control.stage_of(rank, half) + part,
                  static_cast<Bytes>(theirs.size) * element);
    }
  }
}

void node_reduce_scatter(const Call& call, NodePath path) {
  const Communicator& comm = *call.comm;
  NodeControl& control = node_control(comm);
  const int ranks = comm.size();
  const Bytes element = size_of(call.type);
  const std::vector<Index> starts = starts_of(call.counts);
  const auto me = static_cast<std::size_t>(comm.rank());
  const Block mine{starts[me], call.counts[me]};
  std::vector<const void*> inputs(static_cast<std::size_t>(ranks));

  if (meet_and_choose(control, call, path, true, false)) {
    for (Rank rank = 0; rank < ranks; ++rank) {
      inputs[static_cast<std::size_t>(rank)] =
          bytes_at(input_of(control, rank), static_cast<Bytes>(mine.begin) * element);
    }
    void* out = call.out;
    const bool stream = call.bytes() >= stream_threshold();
    reduce_elements(inputs.data(), ranks, &out, 1, mine.size, call.type, call.op, ranks, stream);
    control.meet();
    return;
  }

  const Index per_chunk = static_cast<Index>(control.stage_bytes() / element);
  int half = 0;
  for (Index begin = 0; begin < call.count; begin += per_chunk, half ^= 1) {
    const Index length = std::min(per_chunk, call.count - begin);
    copy_within_cache(control.stage_of(comm.rank(), half),
                bytes_at(call.in, static_cast<Bytes>(begin) * element),
                static_cast<Bytes>(length) * element);
    control.meet();
    const Index from = std::max(begin, mine.begin);
    const Index to = std::min(begin + length, mine.end());
    if (from >= to) continue;
    for (Rank rank = 0; rank < ranks; ++rank) {
      inputs[static_cast<std::size_t>(rank)] =
          control.stage_of(rank, half) + static_cast<Bytes>(from - begin) * element;
    }
    void* out = bytes_at(call.out, static_cast<Bytes>(from - mine.begin) * element);
    reduce_elements(inputs.data(), ranks, &out, 1, to - from, call.type, call.op, ranks, false);
  }
}

void node_all_gather(const Call& call, NodePath path) {
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

  if (static_cast<Bytes>(longest) * element <= parameter(Parameter::inline_bytes) &&
      path != NodePath::staged) {
    Announcement mine = announcement_of(call);
    mine.inlined = 1;
    control.announce(mine, call.in, bytes_of(comm.rank()));
    for (Rank rank = 0; rank < ranks; ++rank) {
      copy_within_cache(place_of(rank), control.inline_of(rank), bytes_of(rank));
    }
    return;
  }

  if (meet_and_choose(control, call, path, true, false)) {
    // Each rank starts with its neighbour's, so that they do not all read the same memory at once.
    for (int step = 0; step < ranks; ++step) {
      const Rank rank = (comm.rank() + step) % ranks;
      const void* from = rank == comm.rank() ? call.in : input_of(control, rank);
      copy_elements(place_of(rank), from, bytes_of(rank));
    }
    control.meet();
    return;
  }

  int half = 0;
  const Bytes all = static_cast<Bytes>(longest) * element;
  for (Bytes begin = 0; begin < all; begin += control.stage_bytes(), half ^= 1) {
    const auto length = [&](Rank rank) {
      const Bytes total = bytes_of(rank);
      return begin < total ? std::min(control.stage_bytes(), total - begin) : Bytes{0};
    };
    copy_within_cache(control.stage_of(comm.rank(), half), bytes_at(call.in, begin),
                length(comm.rank()));
    control.meet();
    for (Rank rank = 0; rank < ranks; ++rank) {
      std::byte* to = bytes_at(place_of(rank), begin);
      if (rank == comm.rank()) {
        if (to != bytes_at(call.in, begin)) copy_within_cache(to, bytes_at(call.in, begin), length(rank));
      } else {
        copy_within_cache(to, control.stage_of(rank, half), length(rank));
      }
    }
  }
}

void node_broadcast(const Call& call, NodePath path) {
  const Communicator& comm = *call.comm;
  NodeControl& control = node_control(comm);
  const bool root = comm.rank() == call.root;

  if (call.bytes() <= parameter(Parameter::inline_bytes) && path != NodePath::staged) {
    Announcement mine = announcement_of(call);
    mine.inlined = root ? 1 : 0;
    control.announce(mine, call.in, call.bytes());
    if (!root) copy_within_cache(call.out, control.inline_of(call.root), call.bytes());
    return;
  }

  control.announce(announcement_of(call), nullptr, 0);
  const bool direct = path != NodePath::staged && control.of(call.root).in.owner >= 0;
  if (path == NodePath::zero_copy && !direct) {
    throw Error("broadcast over " + comm.name(),
                "node_shared was asked for, but the root's buffer is private",
                "use Buffer with Memory::node_shared, or node_staged");
  }
  if (direct) {
    if (!root) copy_elements(call.out, input_of(control, call.root), call.bytes());
    control.meet();
    return;
  }
  int half = 0;
  for (Bytes begin = 0; begin < call.bytes(); begin += control.stage_bytes(), half ^= 1) {
    const Bytes length = std::min(control.stage_bytes(), call.bytes() - begin);
    std::byte* stage = control.stage_of(call.root, half);
    if (root) copy_within_cache(stage, bytes_at(call.in, begin), length);
    control.meet();
    if (!root) copy_within_cache(bytes_at(call.out, begin), stage, length);
  }
}

void node_all_to_all(const Call& call, NodePath path) {
  const Communicator& comm = *call.comm;
  NodeControl& control = node_control(comm);
  const int ranks = comm.size();
  const Rank me = comm.rank();
  const Bytes element = size_of(call.type);
  const bool even = call.receive_counts.empty();
  const bool direct = meet_and_choose(control, call, path, true, false);
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

  if (direct) {
    for (int step = 0; step < ranks; ++step) {
      const Rank rank = (me + step) % ranks;
      const void* from = rank == me ? call.in : input_of(control, rank);
      copy_elements(bytes_at(call.out, places[static_cast<std::size_t>(rank)]),
                    bytes_at(from, start(rank, me)), bytes(rank, me));
    }
    control.meet();
    return;
  }
  // A stage holds a piece of the block for every rank, one after the other. The table of counts lies
  // in the first half, so data starts with the second.
  const Bytes piece = std::max<Bytes>(1, control.stage_bytes() / static_cast<Bytes>(ranks));
  const Bytes longest = static_cast<Bytes>(traffic.longest()) * element;
  int half = 1;
  for (Bytes begin = 0; begin < longest; begin += piece, half ^= 1) {
    const auto length = [&](Rank from, Rank to) {
      const Bytes all = bytes(from, to);
      return begin < all ? std::min(piece, all - begin) : Bytes{0};
    };
    std::byte* stage = control.stage_of(me, half);
    for (Rank to = 0; to < ranks; ++to) {
      copy_within_cache(stage + static_cast<Bytes>(to) * piece,
                        bytes_at(call.in, start(me, to) + begin), length(me, to));
    }
    control.meet();
    for (Rank from = 0; from < ranks; ++from) {
      copy_within_cache(bytes_at(call.out, places[static_cast<std::size_t>(from)] + begin),
                        control.stage_of(from, half) + static_cast<Bytes>(me) * piece,
                        length(from, me));
    }
  }
}

}  // namespace shoal
