// All-to-all in two levels: what the ranks of a node have for those of another travels together, all
// nodes at once, so that a node sends one message to each other one instead of one for each pair of
// ranks. Within the node every rank copies its blocks straight from the others' inputs.
//
// The blocks between two nodes lie one after the other, by sender and then by receiver, and are cut
// into as many slices as there are lanes (NodeGroups): each lane packs its slice just before a segment
// goes, and puts what has come where it belongs. Nodes may have different numbers of ranks, and ranks
// different counts: then the blocks' lengths go first, so that ranks that disagree find out. Longer
// messages go in parts, each a piece of every block. Buffers in private memory pass through a stage.
//
// Cost, with N nodes of up to k of the p ranks: α + (N−2)·o + 1.05·k·(1 − k/p)·n·β, + 4·k flags + 2·n of
// memory. (N−1 senders to one receiver fill the switch's buffers: as in all_reduce/direct.cpp.)
// Source: Träff & Hunold 2020, Decomposing MPI collectives for exploiting multi-lane communication;
// Kumar et al. 2008, Scaling alltoall collective on multi-core systems (the leader of a node).
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include <shoal/runtime/error.hpp>

#include "algorithm.hpp"
#include "all_to_all/node_counts.hpp"
#include "node/groups.hpp"
#include "node/node_collectives.hpp"
#include "node/pieces.hpp"
#include "plan/pipeline.hpp"
#include "plan/segments.hpp"
#include "reduce/reduce.hpp"
#include "tcp/connections.hpp"
#include "transport.hpp"

namespace shoal {
namespace {

// A lane's share of a block, or of a part of it.
struct Slice {
  Bytes at = 0;  // in the lane's memory
  Bytes size = 0;
  const std::byte* from = nullptr;  // in the sender's memory; null: it comes
  std::byte* to = nullptr;          // in the receiver's memory; null: it goes
};

// The call as all ranks of the node take part in it.
struct Job {
  const Call& call;
  NodeGroups& groups;
  const NodeCounts& counts;
  NodeControl* control;  // null: the rank is alone on its node
  bool staged;
  Bytes piece;   // of a block in a part
  Bytes stride;  // from one block's piece to the next in a stage

  Rank rank_at(int place) const {
    return groups.ranks_of(groups.node())[static_cast<std::size_t>(place)];
  }
  Bytes length(Bytes block, Bytes begin) const {
    return begin < block ? std::min(piece, block - begin) : Bytes{0};
  }
  const std::byte* source(int place, Rank to, Bytes begin) const {
    const void* in = control == nullptr ? call.in : input_of(*control, place);
    return bytes_at(in, staged ? static_cast<Bytes>(to) * stride
                               : counts.in_start(place, to) + begin);
  }
  std::byte* target(int place, Rank from, Bytes begin) const {
    void* out = control == nullptr ? call.out : output_of(*control, place);
    return bytes_at(out, staged ? static_cast<Bytes>(from) * stride
                                : counts.out_start(place, from) + begin);
  }
};

// What a lane exchanges with the other nodes in one part.
class Lane {
 public:
  Lane(const Job& job, Bytes begin);
  void run();

 private:
  // use(place here, rank there, bytes) for each block that goes to a node, or comes from there: by sender,
  // then by receiver, and so in the same order on both sides.
  template <class Use>
  void for_each_block(int node, bool goes, Use&& use) const;
  void add_table(int node, bool goes);
  void add_blocks(int node, bool goes);
  void check_table(Bytes begin, Bytes count) const;

  const Job& job_;
  const Bytes begin_;  // of the part, in every block
  Plan plan_;
  std::vector<Slice> slices_;  // in order of place in the lane's memory
  std::vector<Index> table_;   // what goes, and what must come
  Bytes table_in_ = 0;         // where those that come begin
  Bytes end_ = 0;
};

// Blocks of the plan, in bytes: for each node the table and the data that go there; then those that come.
Lane::Lane(const Job& job, Bytes begin) : job_(job), begin_(begin) {
  const int nodes = job_.groups.nodes();
  plan_.segment_bytes = most_segment_bytes();
  for (const bool goes : {true, false}) {
    for (int node = 0; node < nodes; ++node) add_table(node, goes);
    if (goes) table_in_ = table_.size() * sizeof(Index);
  }
  end_ = table_.size() * sizeof(Index);
  for (const bool goes : {true, false}) {
    for (int node = 0; node < nodes; ++node) add_blocks(node, goes);
  }
  Round& round = plan_.rounds.emplace_back();
  const int me = job_.groups.node();
  for (int step = 1; step < nodes; ++step) {
    const int to = (me + step) % nodes;
    const int from = (me + nodes - step) % nodes;
    for (const int first : {0, 2 * nodes}) {  // tables before data
      round.sends.push_back({to, first + to, 1});
      round.receives.push_back({from, first + nodes + from, 1});
    }
  }
}

template <class Use>
void Lane::for_each_block(int node, bool goes, Use&& use) const {
  const int local = job_.groups.local().size();
  const std::vector<Rank>& there = job_.groups.ranks_of(node);
  if (goes) {
    for (int place = 0; place < local; ++place) {
      for (const Rank rank : there) use(place, rank, job_.counts.sent(place, rank));
    }
  } else {
    for (const Rank rank : there) {
      for (int place = 0; place < local; ++place) use(place, rank, job_.counts.expected(place, rank));
    }
  }
}

void Lane::add_table(int node, bool goes) {
  const std::size_t before = table_.size();
  const NodeGroups& groups = job_.groups;
  if (!job_.counts.even() && begin_ == 0 && groups.place() == 0 && node != groups.node()) {
    for_each_block(node, goes, [&](int, Rank, Bytes block) {
      table_.push_back(static_cast<Index>(block));
    });
  }
  plan_.counts.push_back(static_cast<Index>((table_.size() - before) * sizeof(Index)));
}

void Lane::add_blocks(int node, bool goes) {
  const NodeGroups& groups = job_.groups;
  const Bytes first = end_;
  if (node != groups.node()) {
    struct Piece {
      int place;
      Rank other;
      Bytes size;
    };
    std::vector<Piece> pieces;
    Bytes all = 0;
    for_each_block(node, goes, [&](int place, Rank other, Bytes block) {
      pieces.push_back({place, other, job_.length(block, begin_)});
      all += pieces.back().size;
    });
    // Both sides know how much it is, and so how many lanes carry it.
    const int lanes = groups.lanes(all);
    const Block mine = groups.place() < lanes
                           ? segment_of(static_cast<Index>(all), DType::i8, lanes, groups.place())
                           : Block{};
    Bytes at = 0;
    for (const Piece& piece : pieces) {
      const Bytes from = std::max(at, static_cast<Bytes>(mine.begin));
      const Bytes to = std::min(at + piece.size, static_cast<Bytes>(mine.end()));
      if (from < to) {
        Slice slice{end_, to - from};
        if (goes) {
          slice.from = job_.source(piece.place, piece.other, begin_) + (from - at);
        } else {
          slice.to = job_.target(piece.place, piece.other, begin_) + (from - at);
        }
        slices_.push_back(slice);
        end_ += slice.size;
      }
      at += piece.size;
    }
  }
  plan_.counts.push_back(static_cast<Index>(end_ - first));
}

void Lane::run() {
  std::byte* const work = job_.groups.work(end_);
  if (!table_.empty()) std::memcpy(work, table_.data(), table_in_);
  const auto each = [&](Bytes begin, Bytes count, auto&& use) {
    auto slice = std::upper_bound(slices_.begin(), slices_.end(), begin,
                                  [](Bytes place, const Slice& one) { return place < one.at; });
    if (slice != slices_.begin()) --slice;
    for (; slice != slices_.end() && slice->at < begin + count; ++slice) {
      const Bytes first = std::max(begin, slice->at);
      const Bytes end = std::min(begin + count, slice->at + slice->size);
      if (first < end) use(*slice, first, end - first);
    }
  };
  Exchange exchange;
  const std::vector<Rank> members = job_.groups.lane(job_.groups.place());
  exchange.comm = job_.call.comm;
  exchange.members = members;
  exchange.operation = "all_to_all";
  exchange.out = work;
  exchange.type = DType::i8;
  exchange.gather = [&](Index begin, Index count) {
    each(static_cast<Bytes>(begin), static_cast<Bytes>(count),
         [&](const Slice& slice, Bytes first, Bytes size) {
           if (slice.from != nullptr) std::memcpy(work + first, slice.from + (first - slice.at), size);
         });
  };
  exchange.deliver = [&](Index begin, Index count) {
    const auto first_byte = static_cast<Bytes>(begin);
    if (first_byte >= table_in_ && first_byte < table_.size() * sizeof(Index)) {
      return check_table(first_byte, static_cast<Bytes>(count));
    }
    each(first_byte, static_cast<Bytes>(count), [&](const Slice& slice, Bytes first, Bytes size) {
      if (slice.to != nullptr) std::memcpy(slice.to + (first - slice.at), work + first, size);
    });
  };
  run_plan(plan_, exchange);
}

// Bytes [begin, begin + count) of the lane's memory: lengths that another node sent.
void Lane::check_table(Bytes begin, Bytes count) const {
  const auto* got = reinterpret_cast<const Index*>(job_.groups.work(0) + begin);
  const std::size_t first = begin / sizeof(Index);
  for (std::size_t i = 0; i < count / sizeof(Index); ++i) {
    const Index wanted = table_[first + i];
    if (got[i] == wanted) continue;
    // What is on its way does not fit what the next collective will expect.
    job_.call.comm->extension<tcp::Connections>().give_up();
    const auto element = static_cast<Index>(size_of(job_.call.type));
    throw Error("all_to_all over " + job_.call.comm->name(),
                "a rank of another node sends " + std::to_string(got[i] / element) +
                    " elements to a rank of " + job_.call.comm->host_of(job_.call.comm->rank()) +
                    ", which expects " + std::to_string(wanted / element),
                "make the counts of the two agree");
  }
}

class Hierarchical final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;
  std::string why_not(const Call& call) const override { return why_no_hierarchy(*call.comm); }

  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    const double n = static_cast<double>(bytes);
    const double elsewhere = 1 - static_cast<double>(net.per_node) / ranks;
    return Seconds(net.alpha + (net.nodes - 2) * net.overhead +
                   crowded_links * net.per_node * elsewhere * n * net.beta +
                   4 * net.per_node * net.node_alpha + 2 * n * net.node_beta);
  }

  void run(const Call& call) const override {
    NodeGroups& groups = call.comm->extension<NodeGroups>();
    const NodeCounts counts(call, groups);
    Job job{call, groups, counts, nullptr, false, piece_of(groups), 0};
    job.stride = std::min(job.piece, (counts.longest() + 63) / 64 * 64);
    Call staged = call;
    if (groups.local().size() > 1) {
      job.control = &node_control(groups.local());
      job.control->announce(announcement_on(call), nullptr, 0);
      job.staged = !job.control->all_shared(true, true);
      if (job.staged) offer_stage(job, staged);
    }
    // At least once: there may be lengths to compare.
    Bytes begin = 0;
    do {
      run_part(job, staged, begin);
      begin += job.piece;
    } while (begin < counts.longest());
    if (job.control != nullptr && !job.staged) job.control->meet();
  }

 private:
  // Bytes of a block in a part, so that all of a node's blocks together are a part; alike on all ranks.
  static Bytes piece_of(const NodeGroups& groups) {
    Bytes most = 0, ranks = 0;
    for (int node = 0; node < groups.nodes(); ++node) {
      const Bytes here = groups.ranks_of(node).size();
      most = std::max(most, here);
      ranks += here;
    }
    constexpr Bytes least = 1 << 10;
    return std::max(least, NodeGroups::part_bytes / (most * ranks) / 64 * 64);
  }

  // A stage has room for what goes, and behind it for what comes.
  static void offer_stage(const Job& job, Call& staged) {
    const Bytes half = std::max(Bytes{64}, static_cast<Bytes>(job.call.comm->size()) * job.stride);
    std::byte* stage = job.groups.stage(2 * half);
    staged.in = stage;
    staged.out = stage == nullptr ? nullptr : stage + half;
    announce_stage(*job.control, staged);
  }

  // `begin`: of the part, in every block.
  static void run_part(const Job& job, const Call& staged, Bytes begin) {
    const int me = job.groups.place();
    const Rank rank = job.call.comm->rank();
    if (job.staged) {
      for (Rank to = 0; to < job.call.comm->size(); ++to) {
        copy_elements(bytes_at(const_cast<void*>(staged.in), static_cast<Bytes>(to) * job.stride),
                      bytes_at(job.call.in, job.counts.in_start(me, to) + begin),
                      job.length(job.counts.sent(me, to), begin));
      }
      job.control->meet();
    }
    if (me < job.groups.lane_count()) Lane(job, begin).run();
    for (int place = 0; place < job.groups.local().size(); ++place) {
      const Rank from = job.rank_at(place);
      copy_elements(bytes_at(job.call.out, job.counts.out_start(me, from) + begin),
                    job.source(place, rank, begin),
                    job.length(job.counts.expected(me, from), begin));
    }
    if (!job.staged) return;
    job.control->meet();
    for (Rank from = 0; from < job.call.comm->size(); ++from) {
      if (job.call.comm->node_of(from) == job.groups.node()) continue;
      copy_elements(bytes_at(job.call.out, job.counts.out_start(me, from) + begin),
                    bytes_at(staged.out, static_cast<Bytes>(from) * job.stride),
                    job.length(job.counts.expected(me, from), begin));
    }
  }
};

}  // namespace

const Algorithm& all_to_all_hierarchical() {
  static const Hierarchical algorithm({Operation::all_to_all, "hierarchical",
                                       "several ranks a node: one message from node to node",
                                       "Träff & Hunold 2020; Kumar et al. 2008"});
  return algorithm;
}

}  // namespace shoal
