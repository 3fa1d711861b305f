#include "failure.hpp"

#include <cstring>
#include <regex>

#include <fmt/format.h>

namespace shoal::launch {
namespace {

int to_int(const std::string& digits) { return digits.size() > 9 ? -1 : std::stoi(digits); }

// srun tells a signal by its name.
int signal_named(const std::string& name) {
  for (int number = 1; number < 32; ++number) {
    const char* known = strsignal(number);
    if (known != nullptr && name == known) return number;
  }
  return 0;
}

}  // namespace

std::string status_text(const std::string& who, int status) {
  if (status <= 128 || status >= 128 + 65)
    return fmt::format("{} ended with status {}", who, status);
  const char* name = strsignal(status - 128);
  return fmt::format("{} was killed by signal {} ({})", who, status - 128,
                     name != nullptr ? name : "unknown");
}

std::string RankFailure::text() const {
  return status_text(fmt::format("rank {}{}", rank, host.empty() ? "" : " on " + host), status);
}

std::optional<std::string> find_lost_host(const std::string& text) {
  std::smatch match;
  static const std::regex lost(
      R"(has lost communication with a remote daemon[^]{0,200}?Remote daemon: \S+ on node (\S+))");
  if (!std::regex_search(text, match, lost)) return std::nullopt;
  return match[1];
}

bool never_began(const std::string& text) {
  return text.find("ORTE was unable to reliably start one or more daemons") != std::string::npos;
}

std::optional<RankFailure> find_failure(const std::string& text) {
  std::smatch match;
  // The first of them that stands in the text is the first that happened.
  static const std::regex killed(
      R"(process rank (\d+) with PID \d+ on node (\S+) exited on\s+signal (\d+))");
  if (std::regex_search(text, match, killed)) {
    return RankFailure{to_int(match[1]), match[2], 128 + to_int(match[3])};
  }
  static const std::regex aborted(
      R"(MPI_ABORT was invoked on rank (\d+) in communicator[^]{0,200}?with errorcode (\d+))");
  if (std::regex_search(text, match, aborted)) {
    return RankFailure{to_int(match[1]), "", to_int(match[2])};
  }
  static const std::regex exited(R"(Process name: \[\[\d+,\d+\],(\d+)\]\s+Exit code:\s+(\d+))");
  if (std::regex_search(text, match, exited)) {
    return RankFailure{to_int(match[1]), "", to_int(match[2])};
  }
  // srun: error: v2: task 1: Exited with exit code 7
  static const std::regex task(
      R"(srun: error: (\S+): tasks? ([\d]+)[\d,\-]*: (?:Exited with exit code (\d+)|([A-Z][\w ]+)))");
  if (std::regex_search(text, match, task)) {
    const int status = match[3].matched ? to_int(match[3]) : 128 + signal_named(match[4]);
    return RankFailure{to_int(match[2]), match[1], status};
  }
  return std::nullopt;
}

}  // namespace shoal::launch
