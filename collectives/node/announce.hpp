// What a rank tells the others of its node about a call, and which way all of them go then.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include <shoal/collectives/registry.hpp>

#include "node/control.hpp"

namespace shoal {

/// Which way data may go.
enum class NodePath {
  any,        ///< directly where all buffers are shared, else staged or by reading, as is quicker
  zero_copy,  ///< directly; Error if a buffer is private
  staged,     ///< through the staging areas, whatever the buffers
  read,       ///< by reading the others' memory, whatever the buffers; staged where some rank may not
  declined,   ///< not at all: this rank cannot take part, and says so; the others may be at any
};

/// Empty if the ranks of this call can meet in node-shared memory; else why not. Collective the
/// first time on a communicator.
std::string why_no_node_path(const Call& call);

/// The same for reading the others' memory.
std::string why_no_reading(const Call& call);

/// What a rank announces of a call: its part, but for where its data is, and with that.
Announcement announcement_of(const Call& call, NodePath path = NodePath::any);
Announcement announcement_on(const Call& call, NodePath path = NodePath::any);

/// Announces `staged`, a call whose buffers are this rank's NodeGroups::stage(), null if it has none. Throws
/// Error on all ranks of the node alike if one of them has none.
void announce_stage(NodeControl& control, const Call& staged);

/// Where all ranks go after they have announced a call.
enum class Way : std::uint8_t { elsewhere, direct, staged, read };

/// Whose memory must be shared for the direct way.
enum class Needs : std::uint8_t { inputs, inputs_and_outputs, input_of_root };

/// Whether the memory in question of this rank is private. (A rank that is not the root answers for its output.)
bool is_private(const Call& call, const Announcement& mine, Needs needs) noexcept;

/// Whether the call is one of those that QuickerWay tells how to go, as far as this rank knows; and whether it will
/// be read then (a guess, but on rank 0).
bool may_be_read(const Call& call, const Announcement& mine, NodePath path, Needs needs);
bool expects_to_read(const Call& call);

/// A call that this rank has announced, as all the others have; its end is that of the call.
class Announced {
 public:
  /// `before`: how long it was worked on already.
  Announced(NodeControl& control, const Call& call, Announcement mine, NodePath path, Needs needs,
            std::chrono::steady_clock::duration before = {});
  Announced(const Announced&) = delete;
  Announced& operator=(const Announced&) = delete;
  /// Where the call could have gone two ways, notes how long it took by this one.
  ~Announced();
  /// The same on all ranks.
  Way way() const noexcept { return way_; }

 private:
  const Call& call_;
  bool timed_ = false;
  std::chrono::steady_clock::time_point began_;
  Way way_ = Way::elsewhere;
};

/// Whether so much data goes through the slots; alike on all ranks.
bool goes_inline(NodePath path, Bytes bytes);
/// Announces with the data in the slot; false if some rank declines.
bool announce_inline(NodeControl& control, const Call& call, NodePath path, Bytes bytes, bool has_data);

}  // namespace shoal
