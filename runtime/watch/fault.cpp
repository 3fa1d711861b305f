// What a watch does once something is wrong: from the first notice to the end of the process.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include <nlohmann/json.hpp>

#include "watch/thread.hpp"

namespace shoal::watch {
namespace {

using namespace std::chrono_literals;

// mpirun gives the others a second between SIGTERM and SIGKILL: the message must be out by then.
constexpr auto to_collect = 500ms;
// Ranks that fail for the same reason do so within this of each other, or else one is named.
constexpr auto to_fail_together = 200ms;
constexpr auto to_hear_from_leader = 3s;
constexpr auto to_let_first_orphan_speak = 1s;
constexpr auto to_send_last_words = 100ms;
constexpr auto to_be_ended = 3s;
// For mpirun's daemon to end in order after its ranks.
constexpr auto to_end_daemon = 8s;
// A rank that gets SIGTERM lives on for a moment: if the launcher sent it because a rank died, that
// is what must be said. A rank that alone got one is named; if all got it, the run is being
// stopped.
constexpr auto to_live_after_sigterm = 300ms;

constexpr int sigterm_status = 128 + SIGTERM;

}  // namespace

void Thread::begin(const Fault& fault) {
  if (fault.cause == Fault::Cause::error) note_failure(fault);
  if (phase_ != Phase::watching) return;  // the first fault is the cause of the others
  fault_ = fault;
  if (rank_ == 0) return lead();
  if (has_parent()) {
    phase_ = Phase::reporting;
    due_ = Clock::now() + to_hear_from_leader;
    parent_->link.send({Kind::fault, fault.rank, fault.to_json()});
    return;
  }
  // The parent is what failed, or was never reached. All its children are in the same place: the
  // first of them speaks, the others only if the run has not ended by then.
  const std::vector<Rank> siblings = crew_.children_of(crew_.parent_of(rank_));
  phase_ = Phase::orphan;
  due_ = Clock::now() + (siblings.front() == rank_ ? Clock::duration(0)
                                                   : Clock::duration(to_let_first_orphan_speak));
}

// Who leads must hear of every rank that has failed, to tell whether all have failed alike.
void Thread::note_failure(const Fault& fault) {
  if (fault.rank < 0 || fault.rank >= crew_.size()) return;
  states_[static_cast<std::size_t>(fault.rank)].failure = fault.text;
  if (phase_ == Phase::reporting && has_parent()) {
    parent_->link.send({Kind::fault, fault.rank, fault.to_json()});
  }
}

void Thread::lead() {
  phase_ = Phase::collecting;
  leader_ = true;
  began_ = Clock::now();
  due_ = began_ + to_collect;
  RankState& mine = states_[static_cast<std::size_t>(rank_)];
  read_beat(beat_text(), mine);
  mine.record = own_record();
  send_down({Kind::collect, rank_, fault_.to_json()});
}

void Thread::answer(const Message& collect) {
  if (phase_ == Phase::collecting || phase_ == Phase::ending) return;
  phase_ = Phase::reporting;
  fault_ = Fault::parse(collect.text);
  due_ = Clock::now() + to_hear_from_leader;
  parent_->link.send({Kind::beat, rank_, beat_text()});
  parent_->link.send({Kind::record, rank_, own_record()});
  send_down(collect);
}

void Thread::finish() {
  const Report report{fault_, crew_.hosts, states_, silence_};
  const std::string text =
      failed_alike(report) ? fault_.text : message_of(report, write_records(report));
  say("shoal: " + text + '\n');
  nlohmann::ordered_json order;
  order["status"] = fault_.status;
  auto& unanswered = order["unanswered"] = nlohmann::json::array();
  for (std::size_t i = 0; i < states_.size(); ++i) {
    if (states_[i].record.empty()) unanswered.push_back(i);
  }
  send_down({Kind::end, rank_, order.dump()});
  kill_unanswered(order.dump());
  end_process(fault_.status);
}

// Stopped processes would stay for ever; the others have got the same order.
void Thread::kill_unanswered(const std::string& text) {
  const auto order = nlohmann::json::parse(text, nullptr, false);
  if (order.is_discarded() || !order.contains("unanswered")) return;
  for (const auto& one : order["unanswered"]) {
    const auto rank = one.get<Rank>();
    if (rank < 0 || rank >= crew_.size() || rank == rank_ || !on_my_host(rank)) continue;
    kill_process(crew_.processes[static_cast<std::size_t>(rank)]);
  }
}

void Thread::end_process(int status) {
  phase_ = Phase::ending;
  fault_.status = status;
  due_ = Clock::now() + to_send_last_words;
}

// The records of all ranks have come, or of all that can send one.
bool Thread::all_is_known() const {
  const auto has_record = [](const RankState& state) { return !state.record.empty(); };
  if (std::all_of(states_.begin(), states_.end(), has_record)) return true;
  const bool flat = static_cast<std::size_t>(crew_.size()) == children_.size() + 1;
  return flat && std::all_of(children_.begin(), children_.end(), [&](const Peer& child) {
           return !child.alive() || has_record(states_[static_cast<std::size_t>(child.rank)]);
         });
}

void Thread::due(Time now) {
  if (dies_at_ && now >= *dies_at_) {
    dies_at_.reset();
    if (phase_ == Phase::watching) return die_of_sigterm();
  }
  if (blames_at_ && now >= *blames_at_) {
    blames_at_.reset();
    begin({Fault::Cause::terminated, signalled_, {}, sigterm_status});
  }
  if (phase_ == Phase::collecting && all_is_known()) {
    const bool may_yet_fail =
        fault_.cause == Fault::Cause::error &&
        !std::all_of(states_.begin(), states_.end(),
                     [](const RankState& state) { return state.failure.has_value(); });
    due_ = may_yet_fail ? std::min<Time>(due_, began_ + to_fail_together) : now;
  }
  if (phase_ == Phase::watching || now < due_) return;
  switch (phase_) {
    case Phase::watching:
      break;
    case Phase::reporting:
    case Phase::orphan:
      return lead();
    case Phase::collecting:
      return finish();
    case Phase::ending:
      // One of each host is enough: the node's first, or who leads because that one is gone.
      if (leader_ || crew_.leaders[static_cast<std::size_t>(rank_)] == rank_) {
        outlast_daemon(to_end_daemon);
      }
      std::_Exit(fault_.status);
    case Phase::quiet:
      std::_Exit(1);
  }
}

void Thread::be_quiet(const Message& message, const Peer* from) {
  if (phase_ != Phase::watching) return;
  phase_ = Phase::quiet;
  due_ = Clock::now() + to_be_ended;  // by the launcher; otherwise by ourselves
  if (has_parent() && &*parent_ != from) parent_->link.send(message);
  for (Peer& child : children_) {
    if (child.alive() && &child != from) child.link.send(message);
  }
}

void Thread::handle_sigterm(Time now) {
  // The launcher ends a run whose first rank is gone, and the first orphan has spoken.
  if (phase_ == Phase::orphan && now < due_) return die_of_sigterm();
  if (phase_ != Phase::watching || dies_at_) return;
  dies_at_ = now + to_live_after_sigterm;
  blames_at_.reset();
  if (has_parent()) parent_->link.send({Kind::signal, rank_, {}});
}

void Thread::die_of_sigterm() {
  send_all({Kind::bye, rank_, {}});
  flush_all();
  std::signal(SIGTERM, SIG_DFL);
  ::kill(getpid(), SIGTERM);
  phase_ = Phase::ending;
  fault_.status = sigterm_status;
  due_ = Clock::now() + to_send_last_words;
}

void Thread::say(const std::string& line) {
  // Past stdio, whose lock the main thread may hold for ever.
  for (std::size_t at = 0; at < line.size();) {
    const ssize_t wrote = ::write(STDERR_FILENO, line.data() + at, line.size() - at);
    if (wrote <= 0 && errno != EINTR) return;
    if (wrote > 0) at += static_cast<std::size_t>(wrote);
  }
}

}  // namespace shoal::watch
