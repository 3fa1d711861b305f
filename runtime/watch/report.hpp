// What is said, and written, when a run ends by a fault.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <shoal/runtime/units.hpp>

#include "flight_log.hpp"

namespace shoal::watch {

/// Why the run ends.
struct Fault {
  enum class Cause { died, silent, terminated, error };
  Cause cause = Cause::died;
  Rank rank = -1;
  std::string text;  ///< of an error: its message
  int status = 1;

  std::string to_json() const;
  static Fault parse(const std::string& json);
};

/// What is known of a rank.
struct RankState {
  bool known = false;    ///< whether `latest` holds something
  flight::Entry latest;  ///< from its last beat
  std::string record;    ///< its last calls as JSON; empty if it did not answer
  std::optional<std::string> failure;  ///< the message of its Error, if its main thread ended in one
};

/// The last calls of this process, as it sends them.
std::string own_record();
/// This rank's beat, and what it says. Texts of another rank may be nonsense: then nothing is
/// known.
std::string beat_text();
void read_beat(const std::string& text, RankState& state);

/// Everything that a report draws on.
struct Report {
  Fault fault;
  std::vector<std::string> hosts;  ///< by rank
  std::vector<RankState> ranks;
  Seconds silence{0};
};

/// Every rank has failed, with the same words: then there is nobody to name.
bool failed_alike(const Report& report);
/// Writes the records of all ranks; its path and what else is to say of it, for the message.
std::string write_records(const Report& report);
/// The one line that the run ends with.
std::string message_of(const Report& report, const std::string& records);
/// "rank 0 has waited 30 s in …, rank 1 on n computes since …"; empty if nobody waits for `limit`.
/// `key` names the wait, so that each is told of once.
std::string slow_wait(const Report& report, Seconds limit, Seconds bound, std::string& key);

}  // namespace shoal::watch
