#include "progress/mail.hpp"

#include <algorithm>
#include <chrono>
#include <string>
#include <system_error>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/flight_recorder.hpp>
#include <shoal/runtime/signals_held.hpp>
#include <shoal/runtime/trace.hpp>
#include <shoal/runtime/wait.hpp>

namespace shoal {
namespace {

// While messages are under way the thread looks so often: 25 KB come in between over 1 Gbit/s,
// which the kernel keeps, and a look takes a few microseconds of the core.
constexpr std::chrono::microseconds between_looks{200};
// At first it looks more often: what is small, or comes from the same node, is soon there.
constexpr std::chrono::microseconds first_looks{20};
constexpr int quick_looks = 20;
// Where all that is under way is yet to come, nobody waits for this rank: whoever needs it will wait, and then
// move it. It is looked for ever more seldom, since a look costs the core that computes more than its own
// time: in a virtual machine with looks every 200 µs a step of two stages took 1.3 times as long. Between
// nodes data that come meanwhile soon fill what the kernel keeps.
constexpr std::chrono::microseconds longest_rest_on_node{10000};
constexpr std::chrono::microseconds longest_rest_between{1000};
constexpr int looks_before_longer_rests = 20;

}  // namespace

Mail::Mail(const Communicator&) : threaded_(many_threads_may_call_mpi()) {}

Mail::~Mail() {
  {
    const Lock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  for (const std::shared_ptr<Letter>& letter : under_way_) {
    letter->messages.cancel();
    letter->failure = std::make_exception_ptr(
        Error(letter->name, "its communicator has gone before it was done", "wait for it first"));
    letter->done.store(true, std::memory_order_release);
  }
}

void Mail::start_thread() {
  const SignalsHeld held;
  try {
    thread_ = std::thread([this] { move_on(); });
  } catch (const std::system_error&) {
    // No thread to be had: they move when somebody waits.
  }
}

void Mail::add(const std::shared_ptr<Letter>& letter) {
  {
    const Lock lock(mutex_);
    letter->runner = this;
    letter->started_ns = trace::now_ns();
    letter->done.store(false, std::memory_order_relaxed);
    if (look_at(*letter)) return;
    under_way_.push_back(letter);
    if (threaded_ && !thread_.joinable()) start_thread();
  }
  changed_.notify_all();
}

void Mail::move_on() {
  trace::work_beside();
  Lock lock(mutex_);
  int looks = 0;
  for (;;) {
    if (stopping_) return;
    if (under_way_.empty()) {
      looks = 0;
      changed_.wait(lock, [&] { return stopping_ || !under_way_.empty(); });
      continue;
    }
    looks = look() ? 0 : looks + 1;
    // Whatever is added may need other looks.
    const std::size_t known = under_way_.size();
    changed_.wait_for(lock, rest(looks),
                      [&] { return stopping_ || under_way_.size() > known; });
    if (under_way_.size() > known) looks = std::min(looks, quick_looks);
  }
}

std::chrono::microseconds Mail::rest(int looks) const {
  if (looks < quick_looks) return first_looks;
  auto longest = longest_rest_on_node;
  for (const std::shared_ptr<Letter>& letter : under_way_) {
    if (letter->way == Letter::Way::out) return between_looks;
    const Communicator& comm = *letter->comm;
    if (comm.node_of(letter->peer) != comm.node_of(comm.rank())) longest = longest_rest_between;
  }
  const int doublings = std::clamp(looks - quick_looks - looks_before_longer_rests, 0, 6);
  return std::min(between_looks * (1 << doublings), longest);
}

// Whether one of all was finished.
bool Mail::look() {
  const auto left = std::remove_if(under_way_.begin(), under_way_.end(),
                                   [&](const auto& letter) { return look_at(*letter); });
  const bool some = left != under_way_.end();
  under_way_.erase(left, under_way_.end());
  return some;
}

// Whether it is done, for better or worse.
bool Mail::look_at(Letter& letter) noexcept {
  if (letter.done.load(std::memory_order_relaxed)) return true;
  try {
    if (!letter.messages.test()) return false;
  } catch (...) {
    letter.failure = std::current_exception();
  }
  const Bytes bytes = static_cast<Bytes>(letter.count) * size_of(letter.type);
  trace::record_message(letter.name, letter.started_ns, bytes);
  letter.took = std::chrono::nanoseconds(trace::now_ns() - letter.started_ns);
  letter.done.store(true, std::memory_order_release);
  return true;
}

void Mail::drop(const Letter& letter) {
  under_way_.erase(std::remove_if(under_way_.begin(), under_way_.end(),
                                  [&](const auto& each) { return each.get() == &letter; }),
                   under_way_.end());
}

void Mail::finish(Work::State& work) {
  auto& letter = static_cast<Letter&>(work);
  const trace::Span span(letter.name, trace::Category::communication,
                         static_cast<Bytes>(letter.count) * size_of(letter.type));
  flight::Call call;
  call.operation = letter.name;
  call.count = letter.count;
  call.type = letter.type;
  call.peer = letter.peer;
  call.collective = false;
  const flight::Scope record(*letter.comm, call);
  Waiter waiter;
  for (;;) {
    {
      const Lock lock(mutex_);
      if (look_at(letter)) {
        drop(letter);
        return;
      }
    }
    waiter.pause([&] {
      return Waiter::Late{std::string(letter.name) + " over " + letter.comm->name(),
                          name_of_rank(*letter.comm, letter.peer)};
    });
  }
}

bool Mail::test(Work::State& work) {
  auto& letter = static_cast<Letter&>(work);
  const Lock lock(mutex_);
  if (!look_at(letter)) return false;
  drop(letter);
  return true;
}

void Mail::take_back(Work::State& work) noexcept {
  auto& letter = static_cast<Letter&>(work);
  const Lock lock(mutex_);
  if (look_at(letter)) return;
  try {
    letter.messages.cancel();
    drop(letter);
    letter.failure =
        std::make_exception_ptr(Error(std::string(letter.name) + " over " + letter.comm->name(),
                                      "an exception has ended the work"));
  } catch (...) {
    letter.failure = std::current_exception();
  }
  letter.done.store(true, std::memory_order_release);
}

}  // namespace shoal
