// What this rank did last: the end of a run that fails is told from it.
#pragma once

#include <cstdint>
#include <filesystem>

#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/reduce_op.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal::flight {

/// What a rank waits for others in. Texts must be string literals.
struct Call {
  const char* operation = "";
  const char* algorithm = "";  ///< empty: not yet chosen, or none
  Index count = -1;            ///< elements; −1: has none
  DType type = DType::i8;
  ReduceOp op = ReduceOp::sum;
  bool reduces = false;    ///< whether `op` means anything
  Rank peer = -1;          ///< root of a broadcast, or whom a message goes to or comes from
  bool collective = true;  ///< takes a number of its communicator, the same on all ranks
};

/// Keeps a call in the recorder, a ring of this process's last 64: as started when it is made, as
/// done when it goes, as failed when an exception unwinds it. No lock, no allocation.
class Scope {
 public:
  Scope(const Communicator& comm, const Call& call) noexcept;
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  ~Scope();

  /// Number of the call among the collectives of its communicator, from 1; 0 if it takes none.
  std::uint64_t sequence() const noexcept { return sequence_; }
  /// Once it is chosen; a string literal.
  void set_algorithm(const char* name) noexcept;

 private:
  std::uint64_t sequence_;
  std::uint64_t number_;  // in the ring
  int exceptions_;
};

/// Where the file of a run that fails is to go: SHOAL_FLIGHT_RECORDER, or else the last folder
/// given here, or else that of temporary files.
void set_folder(const std::filesystem::path& folder);

}  // namespace shoal::flight
