// How the ranks of one node meet: a block of flags in shared memory, one for each communicator.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/node_memory.hpp>

namespace shoal {

/// What a rank tells the others about its part in a collective.
struct Announcement {
  node_memory::Location in;   ///< owner −1: private memory
  node_memory::Location out;
  std::int64_t count = 0;
  std::int32_t root = 0;
  std::uint8_t operation = 0;
  std::uint8_t type = 0;
  std::uint8_t op = 0;
  std::uint8_t inlined = 0;   ///< the data itself lies in the slot
  std::uint64_t layout = 0;   ///< hash of the counts by rank, where there are some
};

/// Flags and announcements of a communicator whose ranks share a node. A rank writes only its own
/// slot, with release stores; the others poll it. No lock, no system call.
class NodeControl {
 public:
  /// Data of up to this size has room in the slot itself.
  static constexpr Bytes inline_bytes = 1024;
  /// Size of one of the two halves of a rank's staging area (Parameter::stage_bytes).
  Bytes stage_bytes() const noexcept { return stage_bytes_; }

  /// Collective (through MPI). usable() says whether the ranks of `comm` can meet this way.
  /// The wait for the others is bounded.
  explicit NodeControl(const Communicator& comm);
  NodeControl(const NodeControl&) = delete;
  NodeControl& operator=(const NodeControl&) = delete;
  ~NodeControl();

  bool usable() const noexcept { return block_ != nullptr; }

  /// Tells the others about this rank's part (and `inline_data`, if mine.inlined), waits for
  /// theirs, and checks that all take part in the same collective: throws Error on every rank if not.
  void announce(const Announcement& mine, const void* inline_data, Bytes inline_size);
  /// After announce(): a rank's announcement, and its inlined data.
  const Announcement& of(Rank rank) const noexcept;
  const std::byte* inline_of(Rank rank) const noexcept;
  /// True if every rank announced shared memory for `in` (and `out`).
  bool all_shared(bool in, bool out) const noexcept;

  /// Returns once every rank has called it; what each wrote before is seen after.
  void meet();

  /// Half `which` (0, 1) of a rank's staging area. The first call is collective: all ranks of the
  /// node make it at the same point of the same collective. Throws Error on all of them if one has no
  /// memory left.
  std::byte* stage_of(Rank rank, int which);

 private:
  struct Slot;
  struct Block;

  Slot& slot(Rank rank) const noexcept;
  void wait_for(const std::atomic<std::uint64_t>& flag, std::uint64_t value, Rank whom);
  void check_agreement() const;
  void make_stages();

  std::string title() const;
  std::string name_of_rank(Rank rank) const;

  // A Communicator may be moved after this was made for it, so nothing here refers to it.
  const std::string group_;
  const Rank rank_;
  const int ranks_;
  const Bytes stage_bytes_;
  std::vector<std::string> hosts_;
  const char* operation_ = "collective";
  Block* block_ = nullptr;
  void* memory_ = nullptr;      // what the block lies in, on the rank that allocated it
  std::uint64_t sequence_ = 0;  // of announcements
  std::uint64_t meetings_ = 0;
  std::vector<std::byte*> stages_;  // by rank; empty until needed
};

}  // namespace shoal
