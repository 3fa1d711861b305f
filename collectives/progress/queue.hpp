// Where non-blocking collectives wait for their turn: one queue for each communicator, and a thread that
// works it off.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

#include <shoal/collectives/work.hpp>
#include <shoal/runtime/communicator.hpp>

#include "progress/runner.hpp"

namespace shoal {

/// Runs bodies one after the other, in the order of push(), on a communicator of its own.
class WorkQueue final : public WorkRunner {
 public:
  /// Collective: duplicates `comm`.
  explicit WorkQueue(const Communicator& comm);
  /// On `own`, by a thread that calls no MPI, whatever MPI was told of threads: for bodies that need
  /// none of it. See threaded().
  struct WithoutMpi {};
  WorkQueue(WithoutMpi, Communicator&& own);
  /// Waits for what is left.
  ~WorkQueue() override;

  /// Whether a thread does the work; without one, whoever waits for it does.
  bool threaded() const noexcept { return threaded_; }
  /// Where the bodies run.
  const Communicator& comm() const noexcept { return own_; }

  void push(const std::shared_ptr<Work::State>& work);
  /// Returns once `work` is done. Lends a hand where the thread is not at it.
  void finish(Work::State& work) override;
  /// False if the thread will do it; else it is done here.
  bool test(Work::State& work) override;
  /// Takes `work` and all behind it back, if it has not begun; otherwise makes it end soon, and waits
  /// for that.
  void take_back(Work::State& work) noexcept override;
  /// What has not ended fails, now or soon: nobody waits for it any more.
  void give_up() noexcept;

 private:
  using Lock = std::unique_lock<std::mutex>;
  using Waiting = std::deque<std::shared_ptr<Work::State>>;
  bool start_thread(bool calls_mpi);
  void work_off();
  void run_next(Lock& lock);
  void drop_from(Waiting::iterator first) noexcept;

  Communicator own_;
  bool threaded_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Waiting waiting_;
  bool running_ = false;   // somebody is at the one that was in front
  bool stopping_ = false;
  std::atomic<bool> given_up_{false};  // the thread waits for nobody any more
  std::exception_ptr broken_;  // why all later ones fail
  std::thread thread_;     // of the first push
};

}  // namespace shoal
