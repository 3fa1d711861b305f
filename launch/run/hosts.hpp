// The hosts of a job, as a person or a batch system writes them down.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace shoal::launch {

/// A machine that ranks may be started on.
struct Host {
  std::string name;
  int slots = 0;  ///< cores that ranks may use; 0: not told, to be asked of the host
  friend bool operator==(const Host&, const Host&) = default;
};

/// From "node1,node2:4": names, each with an optional number of slots. A name that comes again adds
/// its slots (1 where it names none), as in the files of batch systems. Throws UsageError.
std::vector<Host> parse_host_list(std::string_view text);

/// From the text of a hostfile as Open MPI and MPICH write them: a host a line, "node1",
/// "node1 slots=4 max_slots=8" or "node1:4"; # begins a comment. `name` is for the UsageError it
/// throws, which has the number of the line.
std::vector<Host> parse_hostfile(std::string_view text, const std::string& name);

/// Reads a hostfile. Throws UsageError if it cannot be read or holds no host.
std::vector<Host> read_hostfile(const std::filesystem::path& file);

}  // namespace shoal::launch
