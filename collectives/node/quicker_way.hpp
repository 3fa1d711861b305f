// Which way private buffers go the quicker: through stages, or read by the kernel.
//
// That depends on how far apart the ranks' cores are, on what the caches still hold of the buffers from the
// program's own work, and on what the kernel takes for a page of another process; on virtual machines it
// changes while a program runs. (All-reduce of 16 MiB, 2 ranks on an AMD EPYC 9005: 2.8 ms through stages and
// 5.3 read at one time, 9.4 and 5.5 at another.) So both are timed, in the program's own calls.
#pragma once

#include <array>
#include <map>
#include <utility>

#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/communicator.hpp>

#include "node/announce.hpp"

namespace shoal {

/// What calls of one kind took either way, and from that the way of the next. It begins with stages, and tries
/// the other way now and then: the slower that was, the more rarely, so that trials cost a fiftieth at most.
class TwoWays {
 public:
  /// Whether the next call reads.
  bool reads() const noexcept { return tried_ < 0 ? usual_ : !usual_; }
  /// How a call went, and how long it took.
  void note(bool read, double seconds) noexcept;

 private:
  double& time_of(bool read) noexcept { return times_[read ? 1 : 0]; }
  void plan_trial() noexcept;

  std::array<double, 2> times_{};  // smoothed: through stages, read; 0: not known
  double expected_ = 0;            // the usual way's when the last trial ended
  int calls_ = -1;                 // since then; the very first one touches pages, and counts for nothing
  int trial_at_ = 3;
  int tried_ = -1;                 // calls of the trial that goes on
  double trial_time_ = 0;
  bool usual_ = false;
};

/// Those of a communicator. Rank 0 measures and decides, and announces it with the call.
class QuickerWay {
 public:
  explicit QuickerWay(const Communicator& comm) : decides_(comm.rank() == 0) {}

  /// Whether the call reads. To ranks other than 0: whether the last of its kind did.
  bool reads(const Call& call);
  void note(const Call& call, bool read, double seconds);

 private:
  using Kind = std::pair<Operation, int>;  // and the power of two of its bytes
  static Kind kind_of(const Call& call) noexcept;

  const bool decides_;
  std::map<Kind, TwoWays> ways_;  // on rank 0
  std::map<Kind, bool> last_;     // on the others
};

}  // namespace shoal
