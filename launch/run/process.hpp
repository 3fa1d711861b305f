// Child processes whose output is read, with an end that is certain.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace shoal::launch {

/// A file descriptor that closes itself.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor() { close(); }

  int get() const noexcept { return value_; }
  bool is_open() const noexcept { return value_ >= 0; }
  void close() noexcept;
  /// What there is to read now, added to `text`; closes itself at the end of the file.
  void read_into(std::string& text);

 private:
  int value_ = -1;
};

/// Program and arguments.
using Words = std::vector<std::string>;
using Variables = std::vector<std::pair<std::string, std::string>>;

/// A program that runs as the leader of a process group of its own, so that a terminal's signals
/// reach it only through us; it gets SIGTERM if this process dies. Its output and errors come
/// through pipes, its input is ours, or none if that is a terminal. The destructor kills the whole
/// group.
class ChildProcess {
 public:
  /// Throws Error if it cannot be started, e.g. because it is not there.
  ChildProcess(const Words& words, const Variables& environment);
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ~ChildProcess();

  Descriptor& output() noexcept { return output_; }
  Descriptor& errors() noexcept { return errors_; }
  /// To the program alone, or to its whole group.
  void signal(int number) const noexcept;
  void signal_group(int number) const noexcept;
  /// Its exit status once it has ended (128 + N if signal N ended it). Does not wait.
  std::optional<int> status();

 private:
  pid_t pid_ = -1;
  std::optional<int> status_;
  Descriptor output_, errors_;
};

/// What a short program said.
struct Captured {
  int status = 0;  ///< -1: it did not end in time and was killed; 127: it is not there
  std::string output, errors;
};

/// Runs programs side by side to their ends, each for at most `limit`.
std::vector<Captured> capture_all(const std::vector<Words>& programs, std::chrono::seconds limit);
Captured capture(const Words& program, std::chrono::seconds limit);

/// Words as one line for a shell, quoted where they need it.
std::string shell_line(const Words& words);

/// Makes this process the parent of whatever its descendants leave behind.
void adopt_orphans();
/// Kills every child this process still has, own and adopted; how many there were.
int kill_orphans();

}  // namespace shoal::launch
