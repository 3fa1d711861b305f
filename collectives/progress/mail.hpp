// Messages between two ranks that go on while the program computes.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/units.hpp>

#include "progress/runner.hpp"
#include "transport.hpp"

namespace shoal {

/// A message under way, one way. MPI has it from the beginning: whoever asks only sees it through.
struct Letter final : Work::State {
  enum class Way { out, in };
  Letter(const Communicator& group, Way which, Index elements, DType element_type, Rank other)
      : comm(&group),
        way(which),
        name(which == Way::out ? "send" : "receive"),
        count(elements),
        type(element_type),
        peer(other),
        messages(group, name) {}

  const Communicator* comm;
  Way way;
  const char* name;  ///< a string literal
  Index count;
  DType type;
  Rank peer;
  Messages messages;
  std::int64_t started_ns = 0;
};

/// The messages of a communicator that are under way. They are posted by whoever starts them, so
/// that in whatever order two ranks start and wait, neither waits for the other to come to one
/// first. A thread lets MPI move them meanwhile; it sleeps between its looks, since it shares the
/// core of the one that computes. Without MPI_THREAD_MULTIPLE they move whenever somebody waits.
class Mail final : public WorkRunner {
 public:
  explicit Mail(const Communicator& comm);
  /// Cancels what nobody has waited for.
  ~Mail() override;

  /// `letter` has been posted.
  void add(const std::shared_ptr<Letter>& letter);
  void finish(Work::State& work) override;
  bool test(Work::State& work) override;
  void take_back(Work::State& work) noexcept override;

 private:
  using Lock = std::unique_lock<std::mutex>;
  void start_thread();
  void move_on();
  bool look();
  std::chrono::microseconds rest(int looks) const;
  bool look_at(Letter& letter) noexcept;
  void drop(const Letter& letter);

  const bool threaded_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<Letter>> under_way_;
  bool stopping_ = false;
  std::thread thread_;  // of the first message
};

}  // namespace shoal
