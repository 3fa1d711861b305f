// Making and removing a lab as a whole.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "state.hpp"

namespace shoal::launch::lab {

/// Thrown when the user wants to stop (Ctrl-C): what was begun has been undone.
struct Interrupted {
  int signal;
};

/// Makes a lab. Throws UsageError if there is one of this name, Error if the machine lacks what it
/// needs or refuses, Interrupted if `stop_signal` gives one; then nothing is left of it.
Lab make(const std::string& name, const std::vector<HostSpec>& hosts,
         const std::function<int()>& stop_signal);

/// Kills what runs in a lab and removes all of it, by what is found on the machine. True if there
/// was anything.
bool remove(const std::string& name);

}  // namespace shoal::launch::lab
