// Asking hosts whether they are there.
#pragma once

#include <string>
#include <vector>

#include "hosts.hpp"

namespace shoal::launch {

/// What a host answered.
struct HostAnswer {
  Host host;
  bool reached = false;  ///< it answers, and Shoal runs there
  std::string why_not;   ///< for people, one line
  std::string cure;
  int cores = 0;
  std::string version, mpi;
};

/// The program that this process runs, to be started on other hosts under the same path.
std::string own_executable();

/// Asks every host at once, through `rsh_agent` (empty: ssh), for at most some 10 s. This machine
/// answers always.
std::vector<HostAnswer> ask_hosts(const std::vector<Host>& hosts, const std::string& rsh_agent);
/// The same through Slurm, as steps of the job we are in. Nodes that Slurm holds to be gone are not
/// asked.
std::vector<HostAnswer> ask_slurm_nodes(const std::vector<Host>& hosts);
/// What the other side of ask_hosts prints: `shoal run --answer`.
std::string own_answer();

/// Ends the processes of a job that may be left on other hosts. Waits for at most some 10 s.
void sweep_hosts(const std::vector<Host>& hosts, const std::string& rsh_agent,
                 const std::string& job);
/// Ends those of this machine: all whose environment has SHOAL_RUN_ID=job, this process and its
/// ancestors excepted. The other side of sweep_hosts: `shoal run --sweep JOB`.
int sweep_here(const std::string& job);

}  // namespace shoal::launch
