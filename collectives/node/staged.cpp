#include "node/staged.hpp"

#include <algorithm>
#include <initializer_list>
#include <vector>

#include "algorithm.hpp"
#include "node/pieces.hpp"
#include "reduce/reduce.hpp"

namespace shoal {
namespace {

Index ceil_of(Index a, Index b) { return (a + b - 1) / b; }

}  // namespace

StagedAllReduce::StagedAllReduce(const Call& call, NodeControl& control)
    : call_(call),
      control_(control),
      ranks_(call.comm->size()),
      me_(call.comm->rank()),
      element_(size_of(call.type)),
      per_chunk_(static_cast<Index>(control.stage_bytes() / element_)),
      chunks_(ceil_of(call.count, per_chunk_)),
      // In place a result goes where this rank read moments before: those lines are in its cache.
      stream_(call.in != call.out && copies_outgrow_caches(2 * call.bytes(), ranks_)),
      straight_(!stream_ && claims_lines()),
      per_block_(static_cast<Index>(block_bytes / element_)),
      inputs_(control.pointers()) {}

Index StagedAllReduce::length(Index chunk) const {
  return std::min(per_chunk_, call_.count - chunk * per_chunk_);
}

Bytes StagedAllReduce::offset(Index chunk) const {
  return static_cast<Bytes>(chunk * per_chunk_) * element_;
}

// Where a rank's segment of any chunk lies in every stage: the last chunk is shorter, but must not
// reach into the results of an earlier one.
std::byte* StagedAllReduce::slot(Rank stage, Index chunk, Rank segment) {
  const Block whole = segment_of(length(0), call_.type, ranks_, segment);
  return control_.stage_of(stage, chunk) + static_cast<Bytes>(whole.begin) * element_;
}

// All but this rank's own segment.
void StagedAllReduce::copy_in(Index chunk) {
  if (chunk >= chunks_) return;
  for (Rank rank = 0; rank < ranks_; ++rank) {
    if (rank == me_) continue;
    const Block theirs = segment_of(length(chunk), call_.type, ranks_, rank);
    copy_piece(slot(me_, chunk, rank),
               bytes_at(call_.in, offset(chunk) + static_cast<Bytes>(theirs.begin) * element_),
               static_cast<Bytes>(theirs.size) * element_, false);
  }
}

void StagedAllReduce::reduce(Index chunk) {
  const Block mine = segment_of(length(chunk), call_.type, ranks_, me_);
  const Bytes start = offset(chunk) + static_cast<Bytes>(mine.begin) * element_;
  const Index most = straight_ ? mine.size : per_block_;
  for (Index at = 0; at < mine.size; at += most) {
    const Index count = std::min(most, mine.size - at);
    const Bytes begin = static_cast<Bytes>(at) * element_;
    for (Rank rank = 0; rank < ranks_; ++rank) {
      inputs_[static_cast<std::size_t>(rank)] =
          rank == me_ ? bytes_at(call_.in, start + begin) : slot(rank, chunk, me_) + begin;
    }
    std::byte* const shown = slot(me_, chunk, me_) + begin;
    std::byte* const out = bytes_at(call_.out, start + begin);
    const auto reduce_to = [&](std::initializer_list<void*> outputs) {
      reduce_elements(inputs_.data(), ranks_, outputs.begin(), static_cast<int>(outputs.size()),
                      count, call_.type, call_.op, ranks_, false);
    };
    if (straight_) {
      reduce_to({shown, out});
      continue;
    }
    const Bytes bytes = static_cast<Bytes>(count) * element_;
    reduce_to({block_.data()});
    copy_piece(shown, block_.data(), bytes, false);
    if (stream_) {
      stream_piece(out, block_.data(), bytes);
    } else {
      copy_piece(out, block_.data(), bytes, false);
    }
  }
  if (stream_) order_stream();
}

void StagedAllReduce::copy_out(Index chunk) {
  for (int step = 1; step < ranks_; ++step) {
    const Rank rank = (me_ + step) % ranks_;  // not all from the same stage at once
    const Block theirs = segment_of(length(chunk), call_.type, ranks_, rank);
    copy_piece(bytes_at(call_.out, offset(chunk) + static_cast<Bytes>(theirs.begin) * element_),
               slot(rank, chunk, rank), static_cast<Bytes>(theirs.size) * element_, stream_);
  }
}

// At the meeting all have reduced chunk − 1: its results can be fetched, and its half of the
// inputs be filled again. What was fetched of chunk − 2 was fetched before it, so that its slot
// is free.
void StagedAllReduce::work_on(Index chunk) {
  if (chunk > 0) copy_out(chunk - 1);
  copy_in(chunk + 1);
  reduce(chunk);
  control_.arrive();
}

void StagedAllReduce::finish() {
  for (Index chunk = 0; chunk < chunks_; ++chunk) {
    work_on(chunk);
    control_.wait_for_all();
  }
  if (chunks_ > 0) copy_out(chunks_ - 1);
  control_.end_chunks(chunks_);
}

bool StagedAllReduce::advance() {
  if (arrived_ > 0 && !control_.all_met()) return false;
  if (arrived_ < chunks_) {
    work_on(arrived_++);
    if (arrived_ < chunks_ || !control_.all_met()) return false;
  }
  if (chunks_ > 0) copy_out(chunks_ - 1);
  control_.end_chunks(chunks_);
  return true;
}

// Chunk k holds the k-th piece of every rank's block, one after the other: all ranks have something
// to reduce in each, however the blocks lie.
void staged_reduce_scatter(const Call& call, NodeControl& control) {
  const int ranks = call.comm->size();
  const Rank me = call.comm->rank();
  const Bytes element = size_of(call.type);
  const std::vector<Index> starts = starts_of(call.counts);
  const Index lines = static_cast<Index>(control.stage_bytes() / 64) / ranks;
  const Index piece = std::max<Index>(1, lines) * static_cast<Index>(64 / element);
  const Index longest = *std::max_element(call.counts.begin(), call.counts.end());
  const Index chunks = ceil_of(longest, piece);
  std::vector<const void*>& inputs = control.pointers();
  const auto place = [&](Rank rank, Index chunk) {  // in the input
    return static_cast<Bytes>(starts[static_cast<std::size_t>(rank)] + chunk * piece) * element;
  };
  const auto length = [&](Rank rank, Index chunk) {
    const Index left = call.counts[static_cast<std::size_t>(rank)] - chunk * piece;
    return std::clamp<Index>(left, 0, piece);
  };
  const auto copy_in = [&](Index chunk) {
    std::byte* stage = control.stage_of(me, chunk);
    for (Rank rank = 0; rank < ranks; ++rank) {
      if (rank == me || length(rank, chunk) == 0) continue;
      copy_piece(stage + static_cast<Bytes>(rank * piece) * element,
                 bytes_at(call.in, place(rank, chunk)),
                 static_cast<Bytes>(length(rank, chunk)) * element, false);
    }
  };

  if (chunks > 0) copy_in(0);
  for (Index chunk = 0; chunk < chunks; ++chunk) {
    control.meet();
    if (chunk + 1 < chunks) copy_in(chunk + 1);
    if (length(me, chunk) == 0) continue;
    for (Rank rank = 0; rank < ranks; ++rank) {
      inputs[static_cast<std::size_t>(rank)] =
          rank == me ? bytes_at(call.in, place(me, chunk))
                     : control.stage_of(rank, chunk) + static_cast<Bytes>(me * piece) * element;
    }
    void* out = bytes_at(call.out, static_cast<Bytes>(chunk * piece) * element);
    reduce_elements(inputs.data(), ranks, &out, 1, length(me, chunk), call.type, call.op, ranks,
                    false);
  }
  control.end_chunks(chunks);
}

void staged_all_gather(const Call& call, NodeControl& control) {
  const int ranks = call.comm->size();
  const Rank me = call.comm->rank();
  const Bytes element = size_of(call.type);
  const std::vector<Index> starts = starts_of(call.counts);
  const bool stream = copies_outgrow_caches(2 * call.bytes(), ranks);
  const Index longest = *std::max_element(call.counts.begin(), call.counts.end());
  const auto piece = static_cast<Index>(control.stage_bytes() / element);
  const Index chunks = ceil_of(longest, piece);
  const auto bytes_of = [&](Rank rank, Index chunk) {
    const Index left = call.counts[static_cast<std::size_t>(rank)] - chunk * piece;
    return static_cast<Bytes>(std::clamp<Index>(left, 0, piece)) * element;
  };
  const auto offset = [&](Index chunk) { return static_cast<Bytes>(chunk * piece) * element; };
  const auto copy_in = [&](Index chunk) {
    copy_piece(control.stage_of(me, chunk), bytes_at(call.in, offset(chunk)), bytes_of(me, chunk),
               false);
  };

  if (chunks > 0) copy_in(0);
  for (Index chunk = 0; chunk < chunks; ++chunk) {
    control.meet();
    if (chunk + 1 < chunks) copy_in(chunk + 1);
    for (int step = 0; step < ranks; ++step) {
      const Rank rank = (me + step) % ranks;
      const std::byte* from =
          rank == me ? bytes_at(call.in, offset(chunk)) : control.stage_of(rank, chunk);
      const Bytes start = static_cast<Bytes>(starts[static_cast<std::size_t>(rank)]) * element;
      copy_piece(bytes_at(call.out, start + offset(chunk)), from, bytes_of(rank, chunk), stream);
    }
  }
  control.end_chunks(chunks);
}

void staged_broadcast(const Call& call, NodeControl& control) {
  const bool root = call.comm->rank() == call.root;
  const bool stream = copies_outgrow_caches(call.bytes(), call.comm->size());
  // The others wait while the root copies the first chunk, and the root while they copy the last: a
  // quarter is short enough, and few meetings. Where ranks share cores nobody works while another does,
  // and each meeting is a change of threads.
  constexpr Bytes least = 32 << 10;
  const Bytes lines = 64 * (control.of(0).shares != 0 ? Bytes{1} : Bytes{4});  // one of each part
  const Bytes part = (call.bytes() + lines - 1) / lines * 64;
  const auto piece = static_cast<Index>(std::clamp(part, least, control.stage_bytes()));
  const Index chunks = ceil_of(static_cast<Index>(call.bytes()), piece);
  const auto bytes_of = [&](Index chunk) {
    return static_cast<Bytes>(std::min(piece, static_cast<Index>(call.bytes()) - chunk * piece));
  };
  const auto offset = [&](Index chunk) { return static_cast<Bytes>(chunk * piece); };
  const auto copy_in = [&](Index chunk) {
    copy_piece(control.stage_of(call.root, chunk), bytes_at(call.in, offset(chunk)),
               bytes_of(chunk), false);
  };

  if (root && chunks > 0) copy_in(0);
  for (Index chunk = 0; chunk < chunks; ++chunk) {
    const std::byte* stage = control.stage_of(call.root, chunk);  // all make the stages here
    control.meet();
    if (root && chunk + 1 < chunks) copy_in(chunk + 1);
    if (!root) copy_piece(bytes_at(call.out, offset(chunk)), stage, bytes_of(chunk), stream);
  }
  control.end_chunks(chunks);
}

}  // namespace shoal
