#include "lane.hpp"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include <shoal/collectives/barrier.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mpi_interop.hpp>
#include <shoal/runtime/signals_held.hpp>
#include <shoal/runtime/wait.hpp>

namespace shoal::torch_backend {
namespace {

// How long the thread leaves a job to those who may come to wait for it.
constexpr std::chrono::microseconds patience{100};
// While calls follow each other it looks so often; then it sleeps until it is woken.
constexpr Milliseconds nap{1};
constexpr Milliseconds awake_for{50};
// What a rank did before it ended is still on its way for so long.
constexpr Milliseconds last_words{300};

// The lanes whose finished jobs this thread is telling of.
thread_local std::vector<const Lane*> told_here;

// sched_setattr(2), which has no declaration in the C library.
struct SchedulingAttributes {
  std::uint32_t size, policy;
  std::uint64_t flags;
  std::int32_t nice;
  std::uint32_t priority;
  std::uint64_t runtime, deadline, period;
};

// Where a rank has one core for its computation and for the thread beside it, threads that are to meet there
// must get it when they ask. Who yields it goes to the end of the queue, behind whoever computes. Who sleeps
// for moments, and asks for short turns, is let in when it wakes (Linux 6.12 and later; to earlier ones the
// length of a turn means nothing).
void wait_beside_computation() noexcept {
  nap_in_this_thread();
  constexpr unsigned long precise_ns = 1000;  // naps would last 50 µs longer
  prctl(PR_SET_TIMERSLACK, precise_ns, 0, 0, 0);
  constexpr std::uint64_t turn_ns = 100'000;
  SchedulingAttributes mine{};
  if (syscall(SYS_sched_getattr, 0, &mine, sizeof mine, 0) != 0 || mine.policy != SCHED_OTHER) return;
  mine.size = sizeof mine;
  mine.runtime = turn_ns;
  syscall(SYS_sched_setattr, 0, &mine, 0);
}

std::string seconds_of(Milliseconds time) {
  std::string text = std::to_string(static_cast<double>(time.count()) / 1000);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text + " s";
}

// A communicator of these ranks of the world. All of them, and nobody else, come here.
MPI_Comm communicator_of(const std::vector<Rank>& world_ranks) {
  const MPI_Comm world = mpi_handle(Session::get().world());
  MPI_Group all = MPI_GROUP_NULL;
  MPI_Group mine = MPI_GROUP_NULL;
  MPI_Comm made = MPI_COMM_NULL;
  check_mpi(MPI_Comm_group(world, &all), "new group");
  const int code =
      MPI_Group_incl(all, static_cast<int>(world_ranks.size()), world_ranks.data(), &mine);
  MPI_Group_free(&all);
  check_mpi(code, "new group");
  const int made_code = MPI_Comm_create_group(world, mine, 0, &made);
  MPI_Group_free(&mine);
  check_mpi(made_code, "new group");
  return made;
}

}  // namespace

Lane::Lane(std::vector<Rank> world_ranks, std::string name, Milliseconds timeout)
    : session_(Session::get()),
      world_ranks_(std::move(world_ranks)),
      name_(std::move(name)),
      timeout_(timeout) {
  handle_ = communicator_of(world_ranks_);
  MPI_Comm_set_errhandler(handle_, MPI_ERRORS_RETURN);
  comm_.emplace(borrow_communicator(handle_, name_));
  rank_ = comm_->rank();
  // What the ranks make at their first collective they make now, while nothing else goes on.
  barrier(*comm_);
  session_.watch(*this);
}

Lane::~Lane() {
  if (closed_) return;
  // In a child that fork() made: neither thread nor communicator are this process's.
  for (std::thread& thread : threads_) thread.detach();
  if (comm_) static_cast<void>(new Communicator(std::move(*comm_)));
}

void Lane::shut_down() noexcept {
  if (!Session::alive()) return;
  drain();
  close();
  session_.forget(*this);
  comm_.reset();
  if (handle_ != MPI_COMM_NULL) MPI_Comm_free(&handle_);
}

void Lane::require_open(const char* operation) {
  session_.require_own_process(operation);
  if (closed_) {
    throw Error(std::string(operation) + " over " + name_, "the process group was destroyed",
                "make a new one");
  }
}

void Lane::need_leader() {
  if (leader_ != std::thread::id() || stopping_) return;
  if (spares_ > 0) return spare_.notify_one();
  const SignalsHeld held;
  threads_.emplace_back([this, self = shared_from_this()] {
    wait_beside_computation();
    work_off();
  });
  ++spares_;
}

void Lane::step_aside() {
  const Lock lock(mutex_);
  if (leader_ != std::this_thread::get_id()) return;
  leader_ = {};
  if (!waiting_.empty() || !messages_.empty()) need_leader();
}

void Lane::push(const std::shared_ptr<Job>& job, bool urgent) {
  session_.require_own_process(job->name);  // first: in a child the lock may be one that nobody opens
  Lock lock(mutex_);
  require_open(job->name);
  job->urgent = urgent;
  job->pushed = last_push_ = Clock::now();
  waiting_.push_back(job);
  need_leader();
  const bool wake = asleep_ || urgent;
  lock.unlock();
  if (wake) work_.notify_one();
}

void Lane::hurry() {
  {
    const Lock lock(mutex_);
    for (const auto& job : waiting_) job->urgent = true;
    if (!waiting_.empty()) need_leader();
  }
  work_.notify_one();
}

void Lane::work_off() {
  Lock lock(mutex_);
  while (true) {
    spare_.wait(lock, [this] { return stopping_ || leader_ == std::thread::id(); });
    --spares_;
    if (stopping_) return;
    leader_ = std::this_thread::get_id();
    lead(lock);
    ++spares_;
  }
}

void Lane::lead(Lock& lock) {
  while (!stopping_ && leader_ == std::this_thread::get_id()) {
    test_messages(lock);
    if (leader_ != std::this_thread::get_id()) return;
    const auto now = Clock::now();
    if (!running_ && !waiting_.empty()) {
      const Job& front = *waiting_.front();
      const auto age = now - front.pushed;
      if (age >= (front.urgent ? patience : patience * 5)) {
        run_next(lock);
      } else {
        work_.wait_for(lock, front.urgent ? patience : nap);
      }
    } else if (!messages_.empty() || now - last_push_ < awake_for) {
      work_.wait_for(lock, nap);
    } else {
      asleep_ = true;
      work_.wait(lock, [&] {
        return stopping_ || !messages_.empty() || (!running_ && !waiting_.empty());
      });
      asleep_ = false;
    }
  }
}

void Lane::run_next(Lock& lock) {
  running_ = std::move(waiting_.front());
  waiting_.pop_front();
  const std::shared_ptr<Job> job = running_;
  std::exception_ptr failure = broken_;
  std::exception_ptr failure_after;
  if (!failure) {
    begun_ = Clock::now();
    gone_since_.reset();
    lock.unlock();
    end_waits_when(&given_up_);
    try {
      job->body(*comm_);
    } catch (...) {
      failure = std::current_exception();
    }
    end_waits_when(nullptr);
    if (!failure && job->after) {
      try {
        job->after();
      } catch (...) {
        failure_after = std::current_exception();
      }
    }
    lock.lock();
    if (failure) {
      // The ranks no longer agree on what comes next.
      if (!gave_up_because_.empty()) {
        failure = std::make_exception_ptr(
            Error(std::string(job->name) + " over " + name_, gave_up_because_,
                  "see what the others say; raise the timeout of init_process_group if they are slow"));
      }
      broken_ = std::make_exception_ptr(
          Error("process group " + name_, "an earlier call has failed (" + text_of(failure) + ")",
                "make a new process group"));
    }
  }
  // What is called now may itself want something of this lane.
  running_.reset();
  ++finishing_;
  lock.unlock();
  told_here.push_back(this);
  job->finished(failure ? std::move(failure) : std::move(failure_after));
  told_here.pop_back();
  job->finished = nullptr;
  job->body = nullptr;
  job->after = nullptr;
  lock.lock();
  --finishing_;
  job->done.store(true, std::memory_order_release);
  done_.notify_all();
}

void Lane::finish(Job& job) {
  if (job.done.load(std::memory_order_acquire)) return;
  Lock lock(mutex_);
  while (!job.done.load(std::memory_order_relaxed)) {
    if (running_ || waiting_.empty()) {
      done_.wait(lock);  // bounded: look() ends what takes too long
    } else {
      run_next(lock);
    }
  }
}

bool Lane::finish_by(Job& job, Clock::time_point deadline) {
  hurry();
  Lock lock(mutex_);
  return done_.wait_until(lock, deadline,
                             [&] { return job.done.load(std::memory_order_relaxed); });
}

std::shared_ptr<Message> Lane::add(std::shared_ptr<Message> message) {
  Lock lock(mutex_);
  messages_.push_back(message);
  need_leader();
  const bool wake = asleep_;
  lock.unlock();
  if (wake) work_.notify_one();
  return message;
}

std::shared_ptr<Message> Lane::send(const void* data, Bytes bytes, Rank to, int tag,
                                    std::function<void(std::exception_ptr)> finished) {
  require_open("send");
  return add(std::make_shared<Message>(handle_, true, const_cast<void*>(data), bytes, to, tag,
                                       std::move(finished)));
}

std::shared_ptr<Message> Lane::receive(void* data, Bytes bytes, std::optional<Rank> from, int tag,
                                       std::function<void(std::exception_ptr)> finished) {
  require_open("recv");
  return add(std::make_shared<Message>(handle_, false, data, bytes, from, tag, std::move(finished)));
}

void Lane::finish(Message& message, Milliseconds timeout) {
  const auto begin = Clock::now();
  const char* name = message.sends() ? "send" : "recv";
  const std::string whom = message.partner() ? "rank " + std::to_string(*message.partner()) : "any rank";
  std::optional<Clock::time_point> gone_since;
  constexpr int turns_between_looks = 256;
  Waiter waiter;
  for (int turn = 1; !message.test(); ++turn) {
    waiter.pause([&] { return Waiter::Late{std::string(name) + " over " + name_, whom}; });
    if (turn % turns_between_looks != 0) continue;
    const auto now = Clock::now();
    std::string problem;
    if (now - begin > timeout) {
      problem = "timed out after " + seconds_of(timeout) + " of waiting for " + whom;
    } else if (message.partner()) {
      const Rank partner = world_ranks_[static_cast<std::size_t>(*message.partner())];
      const std::string gone = session_.who_is_gone({&partner, 1});
      if (!gone.empty() && !gone_since) gone_since = now;
      if (gone_since && now - *gone_since > last_words) problem = gone;
    }
    if (!problem.empty()) {
      message.give_up(std::make_exception_ptr(Error(std::string(name) + " over " + name_, problem)));
    }
  }
}

void Lane::test_messages(Lock& lock) {
  if (messages_.empty()) return;
  const std::vector<std::shared_ptr<Message>> tested(messages_.begin(), messages_.end());
  lock.unlock();
  for (const auto& message : tested) message->test();  // what waits for it may want the lock
  lock.lock();
  std::erase_if(messages_, [](const auto& message) { return message->done(); });
}

void Lane::look(Clock::time_point now) {
  const Lock lock(mutex_);
  if (!running_ || given_up_) return;
  std::string problem;
  if (now - begun_ > running_->timeout) {
    problem = "timed out after " + seconds_of(running_->timeout);
  } else if (const std::string gone = session_.who_is_gone(world_ranks_); !gone.empty()) {
    if (!gone_since_) gone_since_ = now;
    if (now - *gone_since_ > last_words) problem = gone;
  }
  if (problem.empty()) return;
  gave_up_because_ = problem;
  given_up_.store(true, std::memory_order_relaxed);
}

void Lane::drain() noexcept {
  // A function that one of its own jobs calls may be what ends the group.
  const auto mine = static_cast<int>(std::count(told_here.begin(), told_here.end(), this));
  Lock lock(mutex_);
  while (running_ || finishing_ > mine || !waiting_.empty()) {
    if (running_ || waiting_.empty()) {
      done_.wait(lock);
    } else {
      run_next(lock);
    }
  }
}

void Lane::close() noexcept {
  std::deque<std::shared_ptr<Job>> left;
  std::list<std::shared_ptr<Message>> messages;
  std::vector<std::thread> threads;
  {
    const Lock lock(mutex_);
    closed_ = true;
    stopping_ = true;
    given_up_.store(true, std::memory_order_relaxed);
    left.swap(waiting_);
    messages.swap(messages_);
    threads.swap(threads_);
  }
  work_.notify_all();
  spare_.notify_all();
  const auto reason = std::make_exception_ptr(
      Error("process group " + name_, "was destroyed before this was done"));
  for (const auto& job : left) {
    job->finished(reason);
    job->done.store(true, std::memory_order_release);
  }
  for (const auto& message : messages) {
    if (!message->test()) message->give_up(reason);
  }
  done_.notify_all();
  for (std::thread& thread : threads) {
    if (thread.get_id() == std::this_thread::get_id()) {
      thread.detach();  // it holds this lane until it ends
    } else {
      thread.join();
    }
  }
}

}  // namespace shoal::torch_backend
