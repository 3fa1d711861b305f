// File work beside the computation.
#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <thread>

namespace shoal {

/// One piece of file work at a time, in a thread of its own. The work must not call MPI. Not for
/// use by several threads.
class FileJob {
 public:
  FileJob() = default;
  FileJob(const FileJob&) = delete;
  FileJob& operator=(const FileJob&) = delete;
  /// Waits for the work, and drops what it throws.
  ~FileJob();

  /// `yielding`: computing threads get the cores first. There must be no work under way. What the
  /// work throws is for `wait` to throw.
  void start(std::function<void()> work, bool yielding);
  /// True if there is none under way.
  bool done() const noexcept {
    return !thread_.joinable() || done_.load(std::memory_order_acquire);
  }
  /// Returns once the work is done, and throws what it threw. How long that takes is between the
  /// kernel and the disk, as with every write.
  void wait();

 private:
  std::thread thread_;
  std::atomic<bool> done_{true};
  std::exception_ptr failure_;
};

}  // namespace shoal
