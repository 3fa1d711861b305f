// Programs of the system that the lab drives (ip, tc): started without a shell, waited for with a
// limit, their complaints kept.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include <shoal/runtime/units.hpp>

namespace shoal::launch::lab {

/// What a finished program left.
struct Outcome {
  int status = 0;      ///< exit status; 128 + signal if one ended it
  std::string errors;  ///< what it wrote to standard error, on one line
};

/// A child process that is killed and waited for if its owner goes away first.
class Child {
 public:
  Child() = default;
  explicit Child(pid_t pid) noexcept : pid_(pid) {}
  Child(Child&& other) noexcept { *this = std::move(other); }
  Child& operator=(Child&& other) noexcept {
    std::swap(pid_, other.pid_);
    std::swap(status_, other.status_);
    return *this;
  }
  ~Child();

  pid_t pid() const noexcept { return pid_; }
  /// True once it has ended; `status()` then holds its exit status.
  bool ended();
  /// Waits until it has ended; false if it has not within the limit.
  bool wait(Seconds limit);
  int status() const noexcept { return status_; }

 private:
  pid_t pid_ = -1;
  int status_ = 0;
};

/// Runs a program of PATH with `input` as its standard input, 20 s at most. Throws Error if it
/// cannot be started or does not end.
Outcome run_program(const std::vector<std::string>& words, const std::string& input = {});

/// The same for a program that must succeed: otherwise Error with `operation` and what it said.
void require_program(const std::string& operation, const std::vector<std::string>& words,
                     const std::string& input = {});

/// True if PATH has such a program.
bool program_exists(const std::string& name);

}  // namespace shoal::launch::lab
