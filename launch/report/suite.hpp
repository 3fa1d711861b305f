// What a report measures.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "process.hpp"

namespace shoal::launch::report {

/// One measurement: its results go to ID.json in the working directory, what it says to ID.log.
struct Measurement {
  std::string id, title;
  /// Subcommands of shoal with their flags, one after the other; the file is among the words.
  std::vector<Words> commands;
  Words cleanup;                 ///< called at the end whatever happened; may be empty
  std::function<void()> inside;  ///< in place of commands: done by this process
  std::string shown;             ///< the command line to tell, where `commands` are none
  double expected = 1;           ///< seconds, about
  bool optional = false;         ///< left out where the time is up
  std::string why_not;           ///< cannot be done here, with the reason; empty: it can

  /// The command lines as one would type them.
  std::string command_line() const;
};

struct SuiteOptions {
  int cores = 1;
  double minutes = 5;
  bool quick = false;
  bool lab = false;         ///< measure between the hosts of a lab, too
  bool may_use_lab = true;  ///< this is root
};

/// Everything that fits the machine, in the order in which it is done. Ids are unique.
std::vector<Measurement> suite_for(const SuiteOptions& options);

/// 1, 2, 4, ... and `cores`.
std::vector<int> rank_counts(int cores);

}  // namespace shoal::launch::report
