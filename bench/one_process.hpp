// What one process does with the cores of all ranks.
#pragma once

#include <functional>
#include <vector>

#include <shoal/runtime/communicator.hpp>

namespace shoal::bench {

/// Lends the cores and threads of all ranks to rank 0 for a moment, while the others sleep: the machine
/// that many ranks are compared with, in the same run.
class OneProcess {
 public:
  /// Collective. `world` must outlive it. Throws UsageError on all ranks if they are on several nodes.
  explicit OneProcess(const Communicator& world);

  /// Threads that rank 0 computes with.
  int threads() const noexcept { return static_cast<int>(cores_.size()); }
  /// Runs `call` on rank 0 alone with as many OpenMP threads, each on a core of its own; the seconds it
  /// took there, on all ranks. Before that `untimed` times more: the threads are new ones, and caches are
  /// as the ranks have left them. Collective.
  double run(const std::function<void()>& call, int untimed = 0) const;

 private:
  const Communicator& world_;
  std::vector<int> cores_;
};

}  // namespace shoal::bench
