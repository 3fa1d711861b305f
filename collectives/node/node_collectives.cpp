#include "node/node_collectives.hpp"

#include <algorithm>
#include <chrono>
#include <vector>

#include <shoal/collectives/caches.hpp>
#include <shoal/runtime/cores.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/wait.hpp>

#include "algorithm.hpp"
#include "node/pieces.hpp"
#include "node/reading.hpp"
#include "node/staged.hpp"
#include "reduce/reduce.hpp"
#include "transport.hpp"
#include "tuning/parameters.hpp"

namespace shoal {
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
constexpr Bytes least_read_beside = 1 << 20;

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
  constexpr Needs needs = Needs::inputs_and_outputs;
  // Whoever has a private buffer knows that all will stage, and can begin before it has heard of them.
  const bool will_stage = path == NodePath::staged ||
                          (path == NodePath::any && is_private(call, mine, needs) &&
                           !(may_be_read(call, mine, path, needs) && expects_to_read(call)));
  std::chrono::steady_clock::duration begun{};
  if (path == NodePath::any && call.bytes() >= least_read_beside && naps_in_this_thread()) {
    mine.beside = 1;
  } else if (will_stage && control.has_stages()) {
    const auto start = std::chrono::steady_clock::now();
    staged.begin();
    mine.staged = 1;
    begun = std::chrono::steady_clock::now() - start;
  }
  const Announced announced(control, call, mine, path, needs, begun);
  if (may_be_direct) control.note_shared();
  switch (announced.way()) {
    case Way::elsewhere: return false;
    case Way::read: reading_all_reduce(call, control); return true;
    case Way::staged:
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
  const Announced announced(control, call, announcement_on(call, path), path, Needs::inputs);
  switch (announced.way()) {
    case Way::elsewhere: return false;
    case Way::staged: staged_reduce_scatter(call, control); return true;
    case Way::read: reading_reduce_scatter(call, control); return true;
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
  const Announced announced(control, call, announcement_on(call, path), path, Needs::inputs);
  switch (announced.way()) {
    case Way::elsewhere: return false;
    case Way::staged: staged_all_gather(call, control); return true;
    case Way::read: reading_all_gather(call, control); return true;
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
  const Announced announced(control, call, announcement_on(call, path), path, Needs::input_of_root);
  switch (announced.way()) {
    case Way::elsewhere: return false;
    case Way::staged: staged_broadcast(call, control); return true;
    case Way::read: reading_broadcast(call, control); return true;
    case Way::direct: break;
  }
  if (!root) copy_elements(call.out, input_of(control, call.root), call.bytes());
  control.meet();
  return true;
}

}  // namespace shoal
