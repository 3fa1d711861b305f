// How many calls were taken over: SHOAL_PRELOAD_REPORT=1.
#pragma once

#include <chrono>

#include <shoal/collectives/registry.hpp>

namespace shoal::preload {

/// MPI's functions as the report lists them.
enum class Function {
  all_reduce,
  reduce_scatter,
  reduce_scatter_block,
  all_gather,
  broadcast,
  all_to_all,
  barrier,
  iall_reduce,
};
inline constexpr int function_count = 8;

/// Times one call from its start to its destruction, and counts it, if a report was asked for.
class Tally {
 public:
  explicit Tally(Function function) noexcept;
  Tally(const Tally&) = delete;
  Tally& operator=(const Tally&) = delete;
  ~Tally();
  /// The call is Shoal's; without it, it counts as handed over.
  void taken() noexcept { taken_ = true; }

 private:
  Function function_;
  bool counted_;
  bool taken_ = false;
  std::chrono::steady_clock::time_point start_;
};

/// Reads the variable.
void start_report();
/// Prints what this process has counted, if asked to.
void print_report();

}  // namespace shoal::preload
