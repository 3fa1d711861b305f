// What the facts of the hosts mean.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace shoal::launch {

enum class Mark {
  good,
  advice,  ///< works, but not as well as it could
  bad,     ///< will fail, or mislead
};

/// The judgement of one thing on one host, or on one pair of hosts.
struct Check {
  std::string name;
  Mark mark = Mark::good;
  std::string text;  ///< what was found
  std::string host;
  std::string cure;  ///< what to do about it; empty if there is nothing to do
};

/// Judges the facts of local_facts, and what the probe adds. `first`: those of rank 0, to compare
/// with.
std::vector<Check> judge_host(const std::string& host, const nlohmann::ordered_json& facts,
                              const nlohmann::ordered_json& first);

/// Judges the measured pairs: more than 1.5 times the median latency, or less than the median
/// bandwidth divided by 1.5, is slow. `hosts`: names by rank.
std::vector<Check> judge_pairs(const nlohmann::ordered_json& pairs,
                               const std::vector<std::string>& hosts);

/// For people, at most 80 columns wide: equal findings of several hosts on one line, cures below.
std::string table_of(const std::vector<Check>& checks);

/// "12 GiB".
std::string bytes_in_words(double bytes);

}  // namespace shoal::launch
