// What the ranks of a process group do together, one after the other.
//
// A job is done by whoever waits for it, if nobody has begun: a blocking call of few bytes so costs no
// change of threads. A thread of the lane does what nobody waits for, at once if a job says so
// (`urgent`), otherwise after a moment. While calls follow each other it naps between them, so that
// they need not wake it.
//
// Who asked a Work for its future may have left a function there, which is called by the thread that
// completes it and may itself wait for what comes next in the lane. Before it calls them the thread of
// the lane therefore steps aside, for another one; it comes back, or is a spare, when they have ended.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <mpi.h>

#include <shoal/runtime/communicator.hpp>

#include "message.hpp"
#include "session.hpp"

namespace shoal::torch_backend {

struct Job {
  const char* name = "";
  Milliseconds timeout{0};                        ///< from where it begins
  std::function<void(const Communicator&)> body;  ///< may throw
  /// Follows a body that did not throw, before the next job's. May throw: that is not the group's failure.
  std::function<void()> after;
  std::function<void(std::exception_ptr)> finished;  ///< in the thread that did it; must not throw
  std::atomic<bool> done{false};
  bool urgent = false;       // `mutex_` of the lane guards these two
  Clock::time_point pushed{};
};

class Lane : public std::enable_shared_from_this<Lane> {
 public:
  /// Over these ranks of the Session's world, in this order. Collective over them.
  Lane(std::vector<Rank> world_ranks, std::string name, Milliseconds timeout);
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;
  ~Lane();

  Rank rank() const noexcept { return rank_; }
  int size() const noexcept { return static_cast<int>(world_ranks_.size()); }
  Milliseconds timeout() const noexcept { return timeout_; }

  /// Throws Error after fork(), or once the group is closed.
  void push(const std::shared_ptr<Job>& job, bool urgent);
  /// Nobody may come to wait for what is there: the thread is to do it now.
  void hurry();
  /// The calling thread is about to call functions that may wait for what comes next.
  void step_aside();
  /// Returns when it is done; does it if need be.
  void finish(Job& job);
  /// Returns false if it is not done until then. Leaves it to the thread.
  bool finish_by(Job& job, Clock::time_point deadline);

  /// Messages of one rank to another, which take no turn in the lane.
  std::shared_ptr<Message> send(const void* data, Bytes bytes, Rank to, int tag,
                                std::function<void(std::exception_ptr)> finished);
  /// `from`: a rank of the group, or any if there is none.
  std::shared_ptr<Message> receive(void* data, Bytes bytes, std::optional<Rank> from, int tag,
                                   std::function<void(std::exception_ptr)> finished);
  /// Throws Error at the deadline, or when the partner is gone.
  void finish(Message& message, Milliseconds timeout);

  /// For the Session: gives a job up that is past its time, or whose partners are gone.
  void look(Clock::time_point now);
  /// Waits until all jobs are done.
  void drain() noexcept;
  /// Ends the threads; gives up what is left. Nothing may be pushed any more.
  void close() noexcept;
  /// Both, and frees the communicator.
  void shut_down() noexcept;

 private:
  using Lock = std::unique_lock<std::mutex>;
  std::shared_ptr<Message> add(std::shared_ptr<Message> message);
  void need_leader();
  void work_off();
  void lead(Lock& lock);
  void run_next(Lock& lock);
  void test_messages(Lock& lock);
  void require_open(const char* operation);

  Session& session_;
  const std::vector<Rank> world_ranks_;
  const std::string name_;
  const Milliseconds timeout_;
  Rank rank_ = 0;
  MPI_Comm handle_ = MPI_COMM_NULL;
  std::optional<Communicator> comm_;

  std::mutex mutex_;
  std::condition_variable work_;  // for the leader
  std::condition_variable spare_;  // for threads that would lead
  std::condition_variable done_;  // for those who wait
  std::deque<std::shared_ptr<Job>> waiting_;
  std::list<std::shared_ptr<Message>> messages_;
  std::shared_ptr<Job> running_;
  int finishing_ = 0;  // jobs that are done but for telling so
  Clock::time_point begun_{};
  Clock::time_point last_push_{};
  std::optional<Clock::time_point> gone_since_;
  std::string gave_up_because_;
  std::atomic<bool> given_up_{false};
  std::exception_ptr broken_;
  bool asleep_ = false;  // the leader
  bool stopping_ = false;
  bool closed_ = false;
  std::thread::id leader_;  // the thread that does what nobody waits for, if there is one
  int spares_ = 0;          // threads that wait to lead
  std::vector<std::thread> threads_;
};

}  // namespace shoal::torch_backend
