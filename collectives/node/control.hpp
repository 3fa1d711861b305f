// How the ranks of one node meet: a block of flags in shared memory, one for each communicator.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/cores.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/node_memory.hpp>
#include <shoal/runtime/placement.hpp>

namespace shoal {

/// What a rank tells the others about its part in a collective.
struct Announcement {
  static constexpr Bytes tiny_bytes = 32;
  union {
    struct {
      node_memory::Location in;   ///< owner −1: private memory, `offset` is the address in that process
      node_memory::Location out;
    } at = {};
    std::byte tiny[tiny_bytes];   ///< the data, if inlined and so small: one cache line tells all
  };
  std::int64_t count = 0;
  std::uint32_t root : 24 = 0;    ///< a rank of this node
  std::uint32_t variant : 8 = 0;  ///< as Meaning has it
  std::uint8_t operation = 0;
  std::uint8_t type = 0;
  std::uint8_t op = 0;
  std::uint8_t inlined : 1 = 0;   ///< the data itself lies in the slot
  std::uint8_t staged : 1 = 0;    ///< the first chunk already lies in this rank's stage
  std::uint8_t shares : 1 = 0;    ///< ranks share cores here
  std::uint8_t declined : 1 = 0;  ///< this rank cannot take part here: all take another way
  std::uint8_t beside : 1 = 0;    ///< long, and this rank's thread waits beside computation
  std::uint8_t purpose : 2 = 0;   ///< as Meaning has it
  std::uint8_t reads : 1 = 0;     ///< by rank 0: private buffers are read by the kernel
  std::uint64_t layout = 0;   ///< hash of the counts by rank, where there are some
};

/// What a rank tells the others of its process (node/peer_memory.hpp).
struct Door {
  std::int64_t process = 0;   ///< its number
  std::uint64_t address = 0;  ///< where in its memory `value` lies
  std::uint64_t value = 0;
  std::uint64_t opens = 0;    ///< 1: it can read the memory of every rank
};

/// A rank has no memory for its stage. Thrown on all ranks alike, before a collective has done anything.
class NoStage : public Error {
 public:
  using Error::Error;
};

/// Flags and announcements of a communicator whose ranks share a node. A rank writes only its own
/// slot, with release stores; the others poll it. No lock, no system call.
class NodeControl {
 public:
  /// Data of up to this size has room in the slot itself: all ranks read more, but meet only once,
  /// which counts where they share cores.
  static constexpr Bytes inline_bytes = 8 << 10;
  /// Size of one of the two halves of a rank's staging area (Parameter::stage_bytes).
  Bytes stage_bytes() const noexcept { return stage_bytes_; }

  /// Collective (through MPI). usable() says whether the ranks of `comm` can meet this way.
  /// The wait for the others is bounded.
  explicit NodeControl(const Communicator& comm);
  /// For `comm` without messages of its own (Communicator::members), whose ranks are those of their
  /// node in `whole`: collective over that.
  NodeControl(const Communicator& comm, const Communicator& whole);
  NodeControl(const NodeControl&) = delete;
  NodeControl& operator=(const NodeControl&) = delete;
  ~NodeControl();

  bool usable() const noexcept { return block_ != nullptr; }
  /// With `whole`: whether those of all nodes are, or have one rank only. The same on all ranks.
  bool usable_everywhere() const noexcept { return everywhere_; }
  int ranks() const noexcept { return ranks_; }
  /// For messages: "rank 3 on node7".
  std::string name_of_rank(Rank rank) const;
  std::string title() const;  ///< the operation announced last, over which communicator

  /// Flags of their own for the same ranks, for collectives that go on beside those of `first`: it has
  /// room for one such. Local: nobody waits. `first` must be usable, and outlive this.
  struct Beside {
    NodeControl& first;
  };
  explicit NodeControl(const Beside& beside);

  /// Tells the others about this rank's part (and `inline_data`, if mine.inlined), waits for
  /// theirs, and checks that all take part in the same collective: throws Error on every rank if not.
  void announce(const Announcement& mine, const void* inline_data, Bytes inline_size);
  /// The same in steps, for who cannot wait: post(), all_posted() until it is true, settle().
  void post(const Announcement& mine, const void* inline_data, Bytes inline_size);
  bool all_posted() const noexcept;
  void settle();
  /// After announce() or settle(): a rank's announcement, and its `size` bytes of inlined data.
  const Announcement& of(Rank rank) const noexcept;
  const std::byte* inline_of(Rank rank, Bytes size) const noexcept;
  /// Room for a pointer a rank.
  std::vector<const void*>& pointers() noexcept { return pointers_; }
  /// True if every rank announced shared memory for `in` (and `out`).
  bool all_shared(bool in, bool out) const noexcept;
  /// Keeps for later calls whether every rank's input and output were shared in this one; the same on all.
  void note_shared() noexcept { last_was_shared_ = all_shared(true, true); }
  bool last_was_shared() const noexcept { return last_was_shared_; }
  /// True every second time; the same on all ranks that call it for the same collectives.
  bool turns_back() noexcept { return back_ = !back_; }
  /// True if every rank announced that its first chunk is staged.
  bool all_staged() const noexcept;
  /// True if some rank waits beside computation.
  bool any_beside() const noexcept;
  /// True if some rank declined.
  bool any_declined() const noexcept { return declined_; }

  /// What a rank says of its process: it writes its own, and meets the others before they look.
  Door& door_of(Rank rank) const noexcept;

  /// Returns once every rank has called it; what each wrote before is seen after.
  void meet();
  /// The same in steps: arrive(), then all_met() until it is true, or wait_for_all().
  void arrive() noexcept;
  bool all_met() const noexcept;
  void wait_for_all();

  /// Instead of a division of work and meet(), where ranks share cores: calls work(part) for those of
  /// `parts` parts of the collective announced last that no other rank has taken, and returns once all
  /// are done. That may be before others have looked: then nobody waits for them to get a core. A part is
  /// worked on from the same core each time, as long as that has time for it: its lines stay there.
  template <class Work>
  void share_out(Index parts, Work&& work) {
    const int cores = sharing_cores();
    const int here = current_node_thread() % cores;
    for (int step = 0; step < cores; ++step) {
      const int core = (here + step) % cores;
      const shoal::Block theirs = block_of(parts, cores, core);
      if (step == 1 && all_parts_done_soon(parts)) return;
      for (Index part = take_part(core, theirs.size); part < theirs.size;
           part = take_part(core, theirs.size)) {
        work(theirs.begin + part);
        part_done();
      }
    }
    wait_for_parts(parts);
  }
  /// Among how many cores share_out() divides the parts.
  int sharing_cores() const noexcept { return std::min(ranks_, node_threads()); }

  /// The half of a rank's staging area that takes chunk `chunk` of this collective: the two in turn,
  /// going on from where the last collective ended. The first call is collective: all ranks of the
  /// node make it at the same point of the same collective. Throws NoStage on all of them if one has no
  /// memory left.
  std::byte* stage_of(Rank rank, Index chunk);
  /// False until the first stage_of(), on all ranks alike.
  bool has_stages() const noexcept { return !stages_.empty(); }
  /// In place of that first call, for who cannot wait: all ranks offer theirs before they post() the
  /// same collective, and take all once it is posted. Throws NoStage as above.
  void offer_stage() noexcept;
  void take_stages();
  /// At the end of a collective of `chunks` chunks. Others may still read the half of the last one,
  /// but no longer that of the next: a rank may fill it before they have announced anything.
  void end_chunks(Index chunks) noexcept { chunks_ += chunks; }

 private:
  struct Slot;
  struct Block;

  Slot& slot(Rank rank) const noexcept;
  void wait_for(const std::atomic<std::uint64_t>& flag, std::uint64_t value, Rank whom,
                const std::byte* data = nullptr, Bytes bytes = 0);
  void make_stages();
  node_memory::Location make_block();
  Index take_part(int core, Index parts) noexcept;
  bool all_parts_done_soon(Index parts);
  void part_done() noexcept;
  void wait_for_parts(Index parts);

  /// What a rank announced, in words; how it differs from `first` where words have no room for that.
  std::string text_of(Rank rank, const Announcement& first) const;

  // A Communicator may be moved after this was made for it, so nothing here refers to it.
  const std::string group_;
  const Rank rank_;
  const int ranks_;
  const Bytes stage_bytes_;
  std::vector<std::string> hosts_;
  const char* operation_ = "collective";
  Block* block_ = nullptr;
  void* memory_ = nullptr;      // what the block lies in, on the rank that allocated it
  const bool beside_ = false;   // the block is another's, too
  bool everywhere_ = false;
  std::uint64_t sequence_ = 0;  // of announcements
  Bytes used_ = 0;              // of the slot, by the last one
  std::uint64_t meetings_ = 0;
  bool declined_ = false;       // some rank, in the last announcement
  bool last_was_shared_ = false;
  bool back_ = false;
  Index chunks_ = 0;            // staged in earlier collectives
  std::vector<const void*> pointers_;
  std::vector<std::byte*> stages_;  // by rank; empty until needed
};

}  // namespace shoal
