// Another program, run beside this one, that may not hang it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <shoal/runtime/units.hpp>

namespace shoal::bench {

/// How a program ended, and what it wrote to standard output.
struct ChildResult {
  bool good = false;  ///< it could be started, and ended with status 0 in time
  std::string output;
  std::string problem;  ///< where not: the last line it wrote to standard error, or what went wrong
};

/// Runs a program (found in PATH) and waits, at most `patience`: then it and all that it started
/// are killed. It sees the environment without the variables by which our own launcher tells ranks
/// who they are; with `any_core` it may run on every core, not only on those that this rank is
/// bound to. `meanwhile` is called every few seconds until it ends; if that throws, the program is
/// killed.
ChildResult run_child(const std::vector<std::string>& command, Seconds patience, bool any_core,
                      const std::function<void()>& meanwhile = {});

}  // namespace shoal::bench
