#include "progress/queue.hpp"

#include <algorithm>
#include <chrono>
#include <string>
#include <system_error>
#include <utility>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/signals_held.hpp>
#include <shoal/runtime/trace.hpp>
#include <shoal/runtime/wait.hpp>

#include "progress/runs_beside.hpp"
#include "transport.hpp"

namespace shoal {

WorkQueue::WorkQueue(const Communicator& comm)
    : own_(comm.duplicate(comm.name() + " (background)")), threaded_(many_threads_may_call_mpi()) {
  own_.extension<RunsBeside>().yes = threaded_;
}

WorkQueue::WorkQueue(WithoutMpi, Communicator&& own)
    : own_(std::move(own)), threaded_(true) {
  own_.extension<RunsBeside>().yes = true;
  threaded_ = start_thread(false);
}

WorkQueue::~WorkQueue() {
  {
    Lock lock(mutex_);
    // Others may never come to what has not begun.
    if (std::uncaught_exceptions() > 0) drop_from(waiting_.begin());
    while (running_ || !waiting_.empty()) {
      if (running_) {
        changed_.wait(lock);
      } else {
        run_next(lock);
      }
    }
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool WorkQueue::start_thread(bool calls_mpi) {
  const SignalsHeld held;
  try {
    thread_ = std::thread([this, calls_mpi] {
      trace::work_beside();
      if (!calls_mpi) leave_mpi_alone_in_this_thread();
      // The core belongs to the thread that computes; the time of this one is spent in waiting.
      pace_this_thread(WaitPolicy::yield);
      end_waits_when(&given_up_);
      work_off();
    });
  } catch (const std::system_error&) {
    return false;
  }
  return true;
}

void WorkQueue::push(const std::shared_ptr<Work::State>& work) {
  {
    const Lock lock(mutex_);
    work->runner = this;
    work->failure = nullptr;
    work->done.store(false, std::memory_order_relaxed);
    waiting_.push_back(work);
    if (threaded_ && !thread_.joinable()) threaded_ = start_thread(true);
  }
  changed_.notify_all();
}

void WorkQueue::work_off() {
  Lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stopping_ || (!running_ && !waiting_.empty()); });
    if (stopping_) return;
    run_next(lock);
  }
}

void WorkQueue::run_next(Lock& lock) {
  const std::shared_ptr<Work::State> work = std::move(waiting_.front());
  waiting_.pop_front();
  std::exception_ptr failure;
  if (broken_) {
    failure = broken_;
  } else {
    running_ = true;
    lock.unlock();
    const auto start = std::chrono::steady_clock::now();
    try {
      work->body(own_);
    } catch (...) {
      failure = std::current_exception();
    }
    work->took = std::chrono::steady_clock::now() - start;
    lock.lock();
    running_ = false;
    if (failure) {
      // The ranks no longer agree on what comes next.
      broken_ = std::make_exception_ptr(
          Error("collectives over " + own_.name(),
                "an earlier one has failed (" + text_of(failure) + ")", "start again"));
    }
  }
  work->failure = std::move(failure);
  work->done.store(true, std::memory_order_release);
  changed_.notify_all();
}

void WorkQueue::finish(Work::State& work) {
  Lock lock(mutex_);
  while (!work.done.load(std::memory_order_relaxed)) {
    if (running_ || waiting_.empty()) {
      // Bounded: every wait within a collective is.
      changed_.wait(lock);
    } else {
      run_next(lock);
    }
  }
}

bool WorkQueue::test(Work::State& work) {
  if (thread_.joinable()) return false;
  finish(work);
  return true;
}

void WorkQueue::drop_from(Waiting::iterator first) noexcept {
  // Nor may they come to what has begun.
  given_up_.store(true, std::memory_order_relaxed);
  if (first == waiting_.end()) return;
  try {
    broken_ = std::make_exception_ptr(
        Error("collectives over " + own_.name(), "an exception has ended the work"));
  } catch (...) {
    broken_ = std::current_exception();
  }
  for (auto each = first; each != waiting_.end(); ++each) {
    (*each)->failure = broken_;
    (*each)->done.store(true, std::memory_order_release);
  }
  waiting_.erase(first, waiting_.end());
  changed_.notify_all();
}

void WorkQueue::give_up() noexcept {
  const Lock lock(mutex_);
  drop_from(waiting_.begin());
}

void WorkQueue::take_back(Work::State& work) noexcept {
  Lock lock(mutex_);
  const auto place = std::find_if(waiting_.begin(), waiting_.end(),
                                  [&](const auto& other) { return other.get() == &work; });
  drop_from(place);
  while (!work.done.load(std::memory_order_relaxed)) changed_.wait(lock);
}

}  // namespace shoal
