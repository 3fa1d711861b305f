// Carrying a suite of measurements out.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "report/meter.hpp"
#include "report/results.hpp"
#include "report/suite.hpp"

namespace shoal::launch::report {

struct MeasureOptions {
  std::string executable;  ///< shoal
  double seconds = 300;    ///< after which what is optional is left out
  int width = 0;           ///< of the terminal; 0: none
};

struct Measured {
  std::vector<Run> runs;  ///< one for each measurement, in order
  int signal = 0;         ///< that has ended it early, 0: none
};

/// Does one after the other in the working directory. Those that `known` has as done, and whose file
/// can be read, are not done again. Every child has a time limit and leaves nothing behind: after
/// SIGINT or SIGTERM the one that runs is ended, and the rest is missing. `note` is called with
/// all runs after each.
Measured carry_out(const std::vector<Measurement>& suite, const std::vector<Run>& known,
                   const MeasureOptions& options,
                   const std::function<void(const std::vector<Run>&)>& note);

}  // namespace shoal::launch::report
