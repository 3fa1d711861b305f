#include "node/node_collectives.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/placement.hpp>

#include "reduce/reduce.hpp"

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

std::vector<Index> starts_of(std::span<const Index> counts) {
  std::vector<Index> starts;
  Index at = 0;
  for (const Index count : counts) {
    starts.push_back(at);
    at += count;
  }
  return starts;
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

Announcement announcement_of(const Call& call) {
  Announcement mine;
  mine.operation = static_cast<std::uint8_t>(call.operation);
  mine.type = static_cast<std::uint8_t>(call.type);
  mine.op = static_cast<std::uint8_t>(call.op);
  mine.count = call.count;
  mine.root = call.root;
  mine.in = node_memory::locate(call.in).value_or(node_memory::Location{});
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

  if (call.bytes() <= NodeControl::inline_bytes && path != NodePath::staged) {
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

  const Index per_chunk = static_cast<Index>(NodeControl::stage_bytes / element);
  int half = 0;
  for (Index begin = 0; begin < call.count; begin += per_chunk, half ^= 1) {
    const Index length = std::min(per_chunk, call.count - begin);
    const Bytes at = static_cast<Bytes>(begin) * element;
    std::memcpy(control.stage_of(comm.rank(), half), bytes_at(call.in, at),
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
      std::memcpy(bytes_at(call.out, at + part), control.stage_of(rank, half) + part,
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

  const Index per_chunk = static_cast<Index>(NodeControl::stage_bytes / element);
  int half = 0;
  for (Index begin = 0; begin < call.count; begin += per_chunk, half ^= 1) {
    const Index length = std::min(per_chunk, call.count - begin);
    std::memcpy(control.stage_of(comm.rank(), half),
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

  if (static_cast<Bytes>(longest) * element <= NodeControl::inline_bytes &&
      path != NodePath::staged) {
    Announcement mine = announcement_of(call);
    mine.inlined = 1;
    control.announce(mine, call.in, bytes_of(comm.rank()));
    for (Rank rank = 0; rank < ranks; ++rank) {
      std::memcpy(place_of(rank), control.inline_of(rank), bytes_of(rank));
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
  for (Bytes begin = 0; begin < all; begin += NodeControl::stage_bytes, half ^= 1) {
    const auto length = [&](Rank rank) {
      const Bytes total = bytes_of(rank);
      return begin < total ? std::min(NodeControl::stage_bytes, total - begin) : Bytes{0};
    };
    std::memcpy(control.stage_of(comm.rank(), half), bytes_at(call.in, begin),
                length(comm.rank()));
    control.meet();
    for (Rank rank = 0; rank < ranks; ++rank) {
      std::byte* to = bytes_at(place_of(rank), begin);
      if (rank == comm.rank()) {
        std::memmove(to, bytes_at(call.in, begin), length(rank));
      } else {
        std::memcpy(to, control.stage_of(rank, half), length(rank));
      }
    }
  }
}

void node_broadcast(const Call& call, NodePath path) {
  const Communicator& comm = *call.comm;
  NodeControl& control = node_control(comm);
  const bool root = comm.rank() == call.root;

  if (call.bytes() <= NodeControl::inline_bytes && path != NodePath::staged) {
    Announcement mine = announcement_of(call);
    mine.inlined = root ? 1 : 0;
    control.announce(mine, call.in, call.bytes());
    if (!root) std::memcpy(call.out, control.inline_of(call.root), call.bytes());
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
  for (Bytes begin = 0; begin < call.bytes(); begin += NodeControl::stage_bytes, half ^= 1) {
    const Bytes length = std::min(NodeControl::stage_bytes, call.bytes() - begin);
    std::byte* stage = control.stage_of(call.root, half);
    if (root) std::memcpy(stage, bytes_at(call.in, begin), length);
    control.meet();
    if (!root) std::memcpy(bytes_at(call.out, begin), stage, length);
  }
}

// The same count for every pair of ranks.
void node_all_to_all(const Call& call, NodePath path) {
  const Communicator& comm = *call.comm;
  NodeControl& control = node_control(comm);
  const int ranks = comm.size();
  const Bytes bytes = static_cast<Bytes>(call.counts.front()) * size_of(call.type);
  if (meet_and_choose(control, call, path, true, false)) {
    for (int step = 0; step < ranks; ++step) {
      const auto rank = static_cast<Bytes>((comm.rank() + step) % ranks);
      const void* from = static_cast<Rank>(rank) == comm.rank()
                             ? call.in
                             : input_of(control, static_cast<Rank>(rank));
      copy_elements(bytes_at(call.out, rank * bytes),
                    bytes_at(from, static_cast<Bytes>(comm.rank()) * bytes), bytes);
    }
    control.meet();
    return;
  }
  // A stage holds a piece of the block for every rank, one after the other.
  const Bytes piece = std::max<Bytes>(1, NodeControl::stage_bytes / static_cast<Bytes>(ranks));
  int half = 0;
  for (Bytes begin = 0; begin < bytes; begin += piece, half ^= 1) {
    const Bytes length = std::min(piece, bytes - begin);
    std::byte* stage = control.stage_of(comm.rank(), half);
    for (Bytes rank = 0; rank < static_cast<Bytes>(ranks); ++rank) {
      std::memcpy(stage + rank * piece, bytes_at(call.in, rank * bytes + begin), length);
    }
    control.meet();
    for (Rank rank = 0; rank < ranks; ++rank) {
      std::memcpy(bytes_at(call.out, static_cast<Bytes>(rank) * bytes + begin),
                  control.stage_of(rank, half) + static_cast<Bytes>(comm.rank()) * piece, length);
    }
  }
}

}  // namespace shoal
