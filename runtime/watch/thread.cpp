#include "watch/thread.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include <nlohmann/json.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/log.hpp>
#include <shoal/runtime/settings.hpp>
#include <shoal/runtime/signals_held.hpp>

namespace shoal::watch {
namespace {

using namespace std::chrono_literals;

constexpr auto to_connect = 10s;
// How long the main thread stands by while the watch ends the run; more than all it may take.
constexpr auto to_end_the_run = 8s;
constexpr auto to_say_goodbye = 100ms;
// Ranks that all get SIGTERM within this are being stopped together, by the launcher.
constexpr auto to_get_ones_own_sigterm = 150ms;

Descriptor make_wake() {
  Descriptor fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) throw Error("health watch", "no eventfd", "raise the limit of open files (ulimit -n)");
  return fd;
}

std::chrono::steady_clock::duration period_for(Seconds silence) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::clamp<Seconds>(silence / 5, 50ms, 1s));
}

}  // namespace

Rank Crew::parent_of(Rank rank) const {
  const Rank leader = leaders[static_cast<std::size_t>(rank)];
  if (leader != rank) return leader;
  return rank == 0 ? -1 : 0;
}

std::vector<Rank> Crew::children_of(Rank rank) const {
  std::vector<Rank> children;
  for (Rank other = 0; other < size(); ++other) {
    if (parent_of(other) == rank) children.push_back(other);
  }
  return children;
}

Thread::Thread(Rank rank, Crew crew, Listener listener)
    : rank_(rank),
      crew_(std::move(crew)),
      listener_(std::move(listener)),
      wake_(make_wake()),
      silence_(settings().silence),
      period_(period_for(silence_)),
      states_(static_cast<std::size_t>(crew_.size())) {
  const SignalsHeld held;
  thread_ = std::thread([this] { run(); });
}

Thread::~Thread() { stop(false); }

void Thread::wait_until_connected() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return connected_; });  // connect() gives up after to_connect
}

void Thread::note_sigterm() noexcept {
  sigterm_ = true;
  const std::uint64_t one = 1;
  static_cast<void>(!::write(wake_.get(), &one, sizeof one));
}

void Thread::stop(bool together) noexcept {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    together_ = together;
  }
  const std::uint64_t one = 1;
  static_cast<void>(!::write(wake_.get(), &one, sizeof one));
  if (thread_.joinable()) thread_.join();
}

void Thread::report(const Fault& fault) {
  {
    const std::lock_guard lock(mutex_);
    ordered_fault_ = fault;
  }
  const std::uint64_t one = 1;
  static_cast<void>(!::write(wake_.get(), &one, sizeof one));
  // The thread ends the process; if it cannot, the caller has to.
  std::this_thread::sleep_for(to_end_the_run);
}

void Thread::leave_quietly() {
  std::unique_lock lock(mutex_);
  leave_quietly_ = true;
  const std::uint64_t one = 1;
  static_cast<void>(!::write(wake_.get(), &one, sizeof one));
  changed_.wait_for(lock, to_say_goodbye, [this] { return said_quietly_; });
}

void Thread::run() {
  connect();
  last_turn_ = Clock::now();
  for (;;) {
    wait_for_events(next_event());
    const Time now = Clock::now();
    // If this process itself stood still (a debugger, Ctrl-Z, a sleeping laptop), the beats of the
    // others lie unread, or they stood still as well.
    const bool stood_still = now - last_turn_ > 3 * period_ + 1s;
    last_turn_ = now;
    accept_new();
    if (parent_) listen_to(*parent_);
    for (Peer& child : children_) listen_to(child);
    if (stood_still) {
      if (parent_) parent_->heard = now;
      for (Peer& child : children_) child.heard = now;
    }
    take_orders();
    if (sigterm_.exchange(false)) handle_sigterm(now);
    if (now >= next_beat_) beat(now);
    if (phase_ == Phase::watching) look_for_silence(now);
    due(now);
    if (phase_ == Phase::watching && may_leave()) break;
  }
  send_all({Kind::bye, rank_, {}});
  flush_all();
}

void Thread::connect() {
  const Rank parent = crew_.parent_of(rank_);
  const auto stop = [this] {
    const std::lock_guard lock(mutex_);
    return stopping_ || leave_quietly_;
  };
  if (parent >= 0) {
    const auto at = static_cast<std::size_t>(parent);
    const Message hello{Kind::hello, rank_, crew_.secret};
    const Time until = Clock::now() + to_connect;
    Link link;
    while (!link.open() && !stop() && Clock::now() < until) {
      link = connect_to(crew_.addresses[at], crew_.ports[at], hello, on_my_host(parent), stop);
      if (!link.open()) std::this_thread::sleep_for(20ms);
    }
    if (link.open()) {
      parent_.emplace();
      parent_->rank = parent;
      parent_->link = std::move(link);
      parent_->heard = Clock::now();
    } else if (!stop()) {
      log::error("health watch: cannot reach rank " + std::to_string(parent) + " on " +
                 crew_.hosts[at] + " (tried " + crew_.addresses[at] +
                 "): the others will notice the end of this rank only after SHOAL_TIMEOUT; let the "
                 "hosts reach each other by TCP, or set SHOAL_WATCH=off");
    }
  }
  const std::lock_guard lock(mutex_);
  connected_ = true;
  changed_.notify_all();
}

Thread::Time Thread::next_event() const {
  Time next = next_beat_;
  if (phase_ != Phase::watching) next = std::min(next, due_);
  if (dies_at_) next = std::min(next, *dies_at_);
  if (blames_at_) next = std::min(next, *blames_at_);
  return next;
}

void Thread::wait_for_events(Time until) {
  std::vector<pollfd> entries;
  const auto add = [&](int fd, bool writes) {
    entries.push_back({fd, static_cast<short>(POLLIN | (writes ? POLLOUT : 0)), 0});
  };
  add(wake_.get(), false);
  if (listener_.fd) add(listener_.fd.get(), false);
  for (const Link& link : strangers_) add(link.fd(), false);
  if (parent_ && parent_->link.open()) add(parent_->link.fd(), parent_->link.wants_to_write());
  for (const Peer& child : children_) {
    if (child.link.open()) add(child.link.fd(), child.link.wants_to_write());
  }
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
  ::poll(entries.data(), entries.size(), static_cast<int>(std::clamp<long>(wait, 0, 1000)));
  std::uint64_t ignored = 0;
  static_cast<void>(!::read(wake_.get(), &ignored, sizeof ignored));
  flush_all();
}

void Thread::accept_new() {
  if (!listener_.fd) return;
  while (Descriptor fd = accept_from(listener_)) strangers_.emplace_back(std::move(fd));
  for (Link& link : strangers_) {
    for (const Message& message : link.receive()) {
      if (!link.open()) break;
      greet(link, message);
      break;
    }
  }
  std::erase_if(strangers_, [](const Link& link) { return !link.open(); });
}

void Thread::greet(Link& link, const Message& hello) {
  const bool mine = hello.kind == Kind::hello && hello.text == crew_.secret && hello.rank >= 0 &&
                    hello.rank < crew_.size() && crew_.parent_of(hello.rank) == rank_;
  const bool known = std::any_of(children_.begin(), children_.end(),
                                 [&](const Peer& peer) { return peer.rank == hello.rank; });
  if (!mine || known) {
    link.close();
    return;
  }
  Peer& child = children_.emplace_back();
  child.rank = hello.rank;
  child.link = std::move(link);
  child.heard = Clock::now();
  child.link.send({Kind::welcome, rank_, crew_.secret});
}

void Thread::listen_to(Peer& peer) {
  if (!peer.link.open()) return;
  for (const Message& message : peer.link.receive()) {
    peer.heard = Clock::now();
    try {
      obey(peer, message);
    } catch (const nlohmann::json::exception&) {
      // Not a word of ours: as if it had not come.
    }
  }
  if (peer.link.open() || peer.left) return;
  peer.left = true;
  if (phase_ == Phase::watching) begin({Fault::Cause::died, peer.rank, {}, 1});
}

void Thread::obey(Peer& from, const Message& message) {
  const bool from_parent = parent_ && &from == &*parent_;
  const auto known_rank = message.rank >= 0 && message.rank < crew_.size();
  switch (message.kind) {
    case Kind::hello:
    case Kind::welcome:
      break;
    case Kind::beat:
      if (from_parent || !known_rank) break;
      read_beat(message.text, states_[static_cast<std::size_t>(message.rank)]);
      if (has_parent()) parent_->link.send(message);
      break;
    case Kind::fault:
      if (known_rank && !from_parent) begin(Fault::parse(message.text));
      break;
    case Kind::collect:
      if (from_parent) answer(message);
      break;
    case Kind::record:
      if (!known_rank || from_parent) break;
      if (phase_ == Phase::collecting) {
        states_[static_cast<std::size_t>(message.rank)].record = message.text;
      } else if (has_parent()) {
        parent_->link.send(message);
      }
      break;
    case Kind::end: {
      if (!from_parent) break;
      send_down(message);
      kill_unanswered(message.text);
      const auto order = nlohmann::json::parse(message.text, nullptr, false);
      end_process(order.is_discarded() ? 1 : order.value("status", 1));
      break;
    }
    case Kind::signal:
      if (from_parent || !known_rank) break;
      if (has_parent()) {
        parent_->link.send(message);
      } else if (!dies_at_ && !blames_at_) {
        signalled_ = message.rank;
        blames_at_ = Clock::now() + to_get_ones_own_sigterm;
      }
      break;
    case Kind::quiet:
      be_quiet(message, &from);
      break;
    case Kind::bye:
      from.left = true;
      break;
  }
}

void Thread::take_orders() {
  std::optional<Fault> fault;
  bool quietly = false;
  {
    const std::lock_guard lock(mutex_);
    fault.swap(ordered_fault_);
    quietly = leave_quietly_ && !said_quietly_;
  }
  if (fault) begin(*fault);
  if (!quietly) return;
  be_quiet({Kind::quiet, rank_, {}}, nullptr);
  flush_all();
  const std::lock_guard lock(mutex_);
  said_quietly_ = true;
  changed_.notify_all();
}

void Thread::beat(Time now) {
  next_beat_ = now + period_;
  const std::string text = beat_text();
  read_beat(text, states_[static_cast<std::size_t>(rank_)]);
  if (has_parent()) parent_->link.send({Kind::beat, rank_, text});
  send_down({Kind::beat, rank_, {}});
  if (rank_ == 0 && phase_ == Phase::watching) tell_of_slow_waits();
}

void Thread::look_for_silence(Time now) {
  const auto silent = [&](const Peer& peer) { return peer.alive() && now - peer.heard > silence_; };
  const auto accuse = [&](Peer& peer) {
    peer.left = true;
    begin({Fault::Cause::silent, peer.rank, {}, 1});
  };
  if (parent_ && silent(*parent_)) return accuse(*parent_);
  for (Peer& child : children_) {
    if (silent(child)) return accuse(child);
  }
}

void Thread::tell_of_slow_waits() {
  const Time now = Clock::now();
  if (now < next_telling_) return;
  std::string key;
  const std::string line =
      slow_wait({fault_, crew_.hosts, states_, silence_}, silence_, settings().timeout, key);
  if (line.empty() ||
      std::find(told_of_waits_.begin(), told_of_waits_.end(), key) != told_of_waits_.end()) {
    return;
  }
  told_of_waits_.push_back(key);
  next_telling_ = now + std::chrono::duration_cast<Clock::duration>(silence_);
  log::warning(line);
}

bool Thread::may_leave() const {
  // take_orders() has held the mutex since; a stop that comes later wakes the thread again.
  auto& self = const_cast<Thread&>(*this);
  const std::lock_guard lock(self.mutex_);
  if (!stopping_) return false;
  return !together_ || std::none_of(children_.begin(), children_.end(),
                                    [](const Peer& child) { return child.alive(); });
}

bool Thread::on_my_host(Rank rank) const {
  return crew_.leaders[static_cast<std::size_t>(rank)] ==
         crew_.leaders[static_cast<std::size_t>(rank_)];
}

void Thread::send_down(const Message& message) {
  for (Peer& child : children_) {
    if (child.alive()) child.link.send(message);
  }
}

void Thread::send_all(const Message& message) {
  if (has_parent()) parent_->link.send(message);
  send_down(message);
}

void Thread::flush_all() {
  if (parent_) parent_->link.flush();
  for (Peer& child : children_) child.link.flush();
}

}  // namespace shoal::watch
