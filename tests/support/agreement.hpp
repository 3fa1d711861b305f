// The point where the ranks of a test meet and tell each other how it went.
#pragma once

#include <mpi.h>

#include <string>
#include <vector>

#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal::testing {

/// Failures of one test, from all ranks.
struct Verdict {
  int failed_ranks = 0;
  /// True if all ranks failed in the same words: then they failed at the same place, together.
  bool alike = false;
  /// Rank 0 only: what each rank reported; empty for the ranks that passed.
  std::vector<std::string> reports;
};

/// Messages on a communicator of its own, so that a collective that was left half-way by a failing
/// test does not mix with them.
class Agreement {
 public:
  explicit Agreement(const Communicator& world);

  /// Collective. Sends `report` (empty: passed) to rank 0, which tells all the verdict. If a rank
  /// does not come in time, says which, prints the reports at hand and ends the run.
  Verdict meet(const std::string& report, const std::string& place);

 private:
  template <class Complain>
  void wait(std::vector<MPI_Request>& requests, Seconds limit, Complain&& complain);
  Verdict collect(const std::string& report, const std::string& place);
  Verdict deliver(const std::string& report, const std::string& place);

  Communicator comm_;
  MPI_Comm handle_;
};

/// The reports with their ranks in front, one that several ranks made only once.
std::string text_of(const std::vector<std::string>& reports);

}  // namespace shoal::testing
