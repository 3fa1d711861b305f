// The process's place among the ranks: one Runtime for as long as the process lives, and a thread that
// ends the waits of those whose partners are gone.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/node_memory.hpp>
#include <shoal/runtime/runtime.hpp>

namespace shoal::torch_backend {

class Lane;

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;

class Session {
 public:
  /// The one of this process. Made at the first call, which is collective over all ranks of the run.
  /// Throws Error in a child that fork() made, and after leave().
  static Session& get();
  /// True if there is one, in this very process, that has not left.
  static bool alive() noexcept;

  const Communicator& world() const noexcept { return runtime_->world(); }
  /// Throws Error if this is a child of the process that made the session.
  void require_own_process(const char* operation) const;

  /// "rank 1 on node7 has ended", of the first of these ranks of the world that is no longer there; empty
  /// if all are. Knows of those on this node.
  std::string who_is_gone(std::span<const Rank> world_ranks);

  void watch(Lane& lane);
  void forget(Lane& lane) noexcept;

  /// The process ends. `in_order`: what has begun is finished first, and MPI too where mpirun waits for
  /// that; otherwise the others learn at once that nothing more will come.
  static void leave(bool in_order) noexcept;

 private:
  Session();
  void tell_each_other();
  void start_monitor();
  void look_around();

  struct Peer {
    int process = -1;                          // pidfd, on this node
    const volatile std::uint32_t* left = nullptr;  // in its heap: not 0 once it leaves
  };

  const int pid_;
  std::unique_ptr<Runtime> runtime_;
  std::vector<Peer> peers_;  // by rank of the world
  std::uint32_t* my_left_ = nullptr;
  std::mutex mutex_;
  std::set<Lane*> lanes_;
  std::thread monitor_;
  std::mutex stop_mutex_;
  std::condition_variable stop_changed_;
  bool stopping_ = false;
};

}  // namespace shoal::torch_backend
