#include "session.hpp"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <string_view>

#include <shoal/collectives/all_gather.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mpi_interop.hpp>
#include <shoal/runtime/signals_held.hpp>

#include "lane.hpp"

namespace shoal::torch_backend {
namespace {

constexpr Milliseconds look_interval{50};

std::mutex session_mutex;
Session* session = nullptr;  // not destroyed by the end of the program: leave() is for that
std::atomic<bool> has_left{false};

}  // namespace

Session& Session::get() {
  const std::lock_guard lock(session_mutex);
  if (has_left) throw Error("shoal backend", "this process has left the run", "do it before the end");
  if (session == nullptr) session = new Session;
  session->require_own_process("shoal backend");
  return *session;
}

bool Session::alive() noexcept {
  return session != nullptr && !has_left && session->pid_ == getpid();
}

Session::Session() : pid_(getpid()) {
  Runtime::Options options;
  options.threads = ThreadLevel::multiple;
  options.abort_on_unwind = false;
  options.guest = true;
  runtime_ = std::make_unique<Runtime>(options);
  tell_each_other();
  start_monitor();
}

void Session::require_own_process(const char* operation) const {
  if (pid_ != getpid()) {
    throw Error(operation, "this process was forked from one that belongs to a run, and does not itself",
                "communicate in the parent only, or start processes with spawn");
  }
}

void Session::tell_each_other() {
  struct Word {
    std::int64_t pid;
    node_memory::Location left;
  };
  const Communicator& all = world();
  Word mine{pid_, {}};
  if (node_memory::available()) {
    my_left_ = static_cast<std::uint32_t*>(node_memory::allocate(64));
    mine.left = *node_memory::locate(my_left_);
  }
  std::vector<Word> words(static_cast<std::size_t>(all.size()));
  all_gather(all, &mine, sizeof mine, words.data(), DType::i8);
  peers_.resize(words.size());
  for (std::size_t rank = 0; rank < words.size(); ++rank) {
    const auto number = static_cast<Rank>(rank);
    if (number == all.rank() || all.node_of(number) != all.node_of(all.rank())) continue;
    if (words[rank].left.owner < 0 || my_left_ == nullptr) continue;  // perhaps another PID namespace
    peers_[rank].process = static_cast<int>(
        syscall(SYS_pidfd_open, static_cast<pid_t>(words[rank].pid), 0));
    peers_[rank].left =
        static_cast<const volatile std::uint32_t*>(node_memory::address(words[rank].left));
  }
}

std::string Session::who_is_gone(std::span<const Rank> world_ranks) {
  for (const Rank rank : world_ranks) {
    const Peer& peer = peers_[static_cast<std::size_t>(rank)];
    const bool left = peer.left != nullptr && *peer.left != 0;
    pollfd end{peer.process, POLLIN, 0};
    if (left || (peer.process >= 0 && poll(&end, 1, 0) > 0)) {
      return "rank " + std::to_string(rank) + " on " + world().host_of(rank) + " has ended";
    }
  }
  return {};
}

void Session::watch(Lane& lane) {
  const std::lock_guard lock(mutex_);
  lanes_.insert(&lane);
}

void Session::forget(Lane& lane) noexcept {
  const std::lock_guard lock(mutex_);
  lanes_.erase(&lane);
}

void Session::start_monitor() {
  const SignalsHeld held;
  monitor_ = std::thread([this] {
    std::unique_lock lock(stop_mutex_);
    while (!stop_changed_.wait_for(lock, look_interval, [this] { return stopping_; })) look_around();
  });
}

void Session::look_around() {
  const std::lock_guard lock(mutex_);
  for (Lane* lane : lanes_) lane->look(Clock::now());
}

void Session::leave(bool in_order) noexcept {
  if (!alive() || has_left.exchange(true)) return;
  Session& me = *session;
  std::vector<Lane*> lanes;
  {
    const std::lock_guard lock(me.mutex_);
    lanes.assign(me.lanes_.begin(), me.lanes_.end());
  }
  if (in_order) {
    for (Lane* lane : lanes) lane->drain();
  }
  if (me.my_left_ != nullptr) {
    std::atomic_ref(*me.my_left_).store(1, std::memory_order_release);
  }
  for (Lane* lane : lanes) lane->close();
  {
    const std::lock_guard lock(me.stop_mutex_);
    me.stopping_ = true;
  }
  me.stop_changed_.notify_all();
  if (me.monitor_.joinable()) me.monitor_.join();
  // Who was started otherwise may end at another time than the rest (start.py).
  const bool mpirun_waits = std::getenv("SHOAL_TORCH_OWN_START") == nullptr;
  if (in_order && mpirun_waits) {
    me.runtime_.reset();
  } else {
    static_cast<void>(me.runtime_.release());
  }
}

}  // namespace shoal::torch_backend
