// A message to or from one rank, under way.
#pragma once

#include <mpi.h>

#include <atomic>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include <shoal/runtime/units.hpp>

namespace shoal::torch_backend {

class Message {
 public:
  using Finished = std::function<void(std::exception_ptr)>;

  /// The partner is a rank of `comm`; none: any may send. Posts it at once.
  Message(MPI_Comm comm, bool sends, void* data, Bytes bytes, std::optional<Rank> partner, int tag,
          Finished finished);
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  ~Message();

  /// Moves it on. True once it is done, one way or the other. Any thread may ask.
  bool test() noexcept;
  /// Ends it with this failure, unless it is done.
  void give_up(std::exception_ptr failure) noexcept;
  bool done() const noexcept { return done_.load(std::memory_order_acquire); }
  /// After done(): who sent it.
  Rank source() const noexcept { return source_; }
  bool sends() const noexcept { return sends_; }
  std::optional<Rank> partner() const noexcept { return partner_; }

 private:
  void post(Bytes from, Rank partner);
  void check(const MPI_Status& status, Bytes expected);
  bool step();
  void withdraw() noexcept;
  void end(std::unique_lock<std::mutex> lock, std::exception_ptr failure) noexcept;

  const MPI_Comm comm_;
  const bool sends_;
  std::byte* const data_;
  const Bytes bytes_;
  const std::optional<Rank> partner_;
  const int tag_;
  Finished finished_;
  std::mutex mutex_;
  std::vector<MPI_Request> requests_;  // one a chunk
  std::size_t next_ = 0;               // the first that is not complete
  bool ended_ = false;  // but perhaps not told yet; under mutex_
  std::atomic<bool> done_{false};
  Rank source_ = -1;
};

}  // namespace shoal::torch_backend
