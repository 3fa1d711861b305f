// Running something of our own in a host, in a child process, with numbers as its result.
#pragma once

#include <functional>
#include <vector>

#include "descriptor.hpp"
#include "process.hpp"

namespace shoal::launch::lab {

/// A function under way in a child process.
class Task {
 public:
  using Numbers = std::vector<double>;
  /// Starts `work` in a child. What it throws becomes the result's absence.
  explicit Task(const std::function<Numbers()>& work);

  /// What it returned; nothing if it failed or has not ended in time.
  Numbers result(Seconds limit);

 private:
  Descriptor out_;
  Child child_;
};

}  // namespace shoal::launch::lab
