// What a lab should be: the words of the command line as types.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <shoal/runtime/units.hpp>

namespace shoal::launch::lab {

/// One host and its link. What is not limited is empty.
struct HostSpec {
  std::optional<double> cpu;          ///< cores' worth of time; none: an even share
  std::optional<std::uint64_t> link;  ///< bits a second, each way; none: as fast as it goes
  std::optional<Bytes> memory;        ///< most memory of its processes
  Seconds latency{0};                 ///< delay added on the way to another host

  bool operator==(const HostSpec&) const = default;
};

/// "1gbit", "100mbit", "2.5gbit", "500kbit", "1000000bit" as bits a second; "none" as no limit.
std::optional<std::uint64_t> parse_link(const std::string& text);
/// "2G", "512M", "64KiB", "1000000" as bytes (powers of 1024).
Bytes parse_memory(const std::string& text);
/// "50us", "1.5ms", "0.1s".
Seconds parse_latency(const std::string& text);
/// Cores' worth of time: "0.25", "2".
double parse_cpu(const std::string& text);
/// The name of a lab: what fits into names of control groups and files.
std::string parse_name(const std::string& text);
/// "h3" or "3" as 3. Throws UsageError if `hosts` hosts have no such one.
int parse_host(const std::string& text, int hosts);

/// Applies "3:cpu=0.1,link=100mbit,memory=1G,latency=1ms" to its host.
void apply_override(const std::string& text, std::vector<HostSpec>& hosts);

/// The host name of host number `index`: "h3".
std::string host_name(int index);
/// "1 Gbit/s", "unlimited".
std::string link_text(const std::optional<std::uint64_t>& link);

/// Cores' worth of time, of `cores`, that each host gets when all compute: an even share, or less
/// where its quota is less, which leaves more to the others.
std::vector<double> expected_cpu(const std::vector<HostSpec>& hosts, double cores);

}  // namespace shoal::launch::lab
