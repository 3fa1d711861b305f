// One rank's watch: its thread, its peers in the tree, and what it does when something is wrong.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <shoal/runtime/units.hpp>

#include "watch/link.hpp"
#include "watch/process.hpp"
#include "watch/report.hpp"

namespace shoal::watch {

/// The ranks of the run, by rank: the same on all of them.
struct Crew {
  std::vector<std::string> hosts;
  std::vector<Rank> leaders;  ///< the lowest rank of each one's node
  std::vector<ProcessId> processes;
  std::vector<std::string> addresses;
  std::vector<std::uint16_t> ports;
  std::string secret;

  int size() const noexcept { return static_cast<int>(hosts.size()); }
  /// In the tree; −1 for rank 0.
  Rank parent_of(Rank rank) const;
  std::vector<Rank> children_of(Rank rank) const;
};

class Thread {
 public:
  Thread(Rank rank, Crew crew, Listener listener);
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;
  ~Thread();

  /// Until it is connected to its parent, or cannot be.
  void wait_until_connected();
  // See watch.hpp.
  void stop(bool together) noexcept;
  void report(const Fault& fault);
  void leave_quietly();
  /// What the SIGTERM handler does: only a write.
  void note_sigterm() noexcept;

 private:
  using Clock = std::chrono::steady_clock;
  using Time = Clock::time_point;

  struct Peer {
    Rank rank = -1;
    Link link;
    Time heard;
    bool left = false;  // it took leave, or its end has been dealt with
    bool alive() const { return link.open() && !left; }
  };

  // What the thread is about; each phase but `watching` ends at due_.
  enum class Phase {
    watching,
    reporting,   // the fault is with the parent
    orphan,      // the parent is gone, and it is for another rank to speak first
    collecting,  // leads: the records are coming in
    ending,      // the last messages go out, then the process ends
    quiet,       // another rank ends the run and has said why
  };

  void run();
  void connect();
  void wait_for_events(Time until);
  Time next_event() const;
  void accept_new();
  void greet(Link& link, const Message& hello);
  void listen_to(Peer& peer);
  void obey(Peer& from, const Message& message);
  void take_orders();
  void beat(Time now);
  void look_for_silence(Time now);
  void tell_of_slow_waits();
  void due(Time now);
  bool may_leave() const;

  void begin(const Fault& fault);
  void note_failure(const Fault& fault);
  void lead();
  void answer(const Message& collect);
  void finish();
  bool all_is_known() const;
  void end_process(int status);
  void kill_unanswered(const std::string& order);
  void be_quiet(const Message& message, const Peer* from);
  void handle_sigterm(Time now);
  void die_of_sigterm();

  bool has_parent() const { return parent_ && parent_->alive(); }
  void send_down(const Message& message);
  void send_all(const Message& message);
  void flush_all();
  bool on_my_host(Rank rank) const;
  void say(const std::string& line);

  const Rank rank_;
  const Crew crew_;
  Listener listener_;
  Descriptor wake_;
  const Seconds silence_;
  const Clock::duration period_;

  std::optional<Peer> parent_;
  std::deque<Peer> children_;
  std::deque<Link> strangers_;  // accepted, not yet greeted
  std::vector<RankState> states_;
  std::vector<std::string> told_of_waits_;

  Phase phase_ = Phase::watching;
  Time due_{};
  Time began_{};  // to collect
  Time next_beat_{};
  Time next_telling_{};  // of a slow wait
  Time last_turn_{};
  Fault fault_;
  bool leader_ = false;  // ends the run for all
  std::optional<Time> dies_at_;    // of SIGTERM
  std::optional<Time> blames_at_;  // a rank for its SIGTERM, unless it was the whole run's
  Rank signalled_ = -1;

  std::atomic<bool> sigterm_{false};
  std::mutex mutex_;  // of what follows: the orders of the main thread
  std::condition_variable changed_;
  bool connected_ = false;
  bool stopping_ = false;
  bool together_ = false;
  bool leave_quietly_ = false;
  bool said_quietly_ = false;
  std::optional<Fault> ordered_fault_;

  std::thread thread_;  // last: it uses everything above
};

}  // namespace shoal::watch
