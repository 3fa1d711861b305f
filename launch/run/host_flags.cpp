#include "host_flags.hpp"

#include <algorithm>

#include <CLI/CLI.hpp>
#include <shoal/runtime/error.hpp>

#include "local_host.hpp"
#include "reach.hpp"

namespace shoal::launch {

void HostFlags::add_to(CLI::App& app) {
  const char* group = "Hosts";
  app.add_option("--hosts", hosts,
                 "names, each with :SLOTS where not all its cores are meant; default: this machine")
      ->group(group)
      ->type_name("A,B,C");
  app.add_option("--hostfile", hostfile, "a host a line, \"node1 slots=4\"; # begins a comment")
      ->group(group)
      ->type_name("FILE");
  app.add_option("--rsh-agent", rsh_agent, "program that runs a command on another host (ssh)")
      ->group(group)
      ->type_name("PROGRAM");
  app.add_option("--starter", starter,
                 "mpirun, or srun; auto: srun in a Slurm allocation whose srun serves PMIx")
      ->group(group)
      ->check(CLI::IsMember({"auto", "mpirun", "srun"}))
      ->type_name("KIND")
      ->capture_default_str();
}

Ground find_ground(const HostFlags& flags) {
  if (!flags.hosts.empty() && !flags.hostfile.empty()) {
    throw UsageError("--hostfile", "--hosts is given too", "give one of them");
  }
  Ground ground;
  ground.slurm = slurm_allocation();
  ground.named = true;
  if (!flags.hosts.empty()) {
    ground.hosts = parse_host_list(flags.hosts);
  } else if (!flags.hostfile.empty()) {
    ground.hosts = read_hostfile(flags.hostfile);
  } else if (ground.slurm) {
    ground.hosts = ground.slurm->hosts;
  } else {
    ground.named = false;
    ground.hosts = {{"localhost", 0}};
  }
  if (ground.slurm) {
    for (Host& host : ground.hosts) {
      const auto& nodes = ground.slurm->hosts;
      const auto node = std::find_if(nodes.begin(), nodes.end(),
                                     [&](const Host& other) { return other.name == host.name; });
      if (node == nodes.end()) {
        throw UsageError("--hosts", host.name + " is not in Slurm's job " + ground.slurm->job,
                         "name nodes of the job, or none");
      }
      if (host.slots == 0) host.slots = node->slots;
    }
  }
  if (flags.starter == "srun" && !ground.slurm) {
    throw UsageError("--starter srun", "this is no Slurm allocation", "use salloc or sbatch");
  }
  if (flags.starter == "srun" || (flags.starter == "auto" && ground.slurm && srun_serves_pmix())) {
    ground.starter = Starter::srun;
  }
  return ground;
}

void count_slots(std::vector<Host>& hosts, const std::string& rsh_agent) {
  std::vector<Host> unknown;
  std::copy_if(hosts.begin(), hosts.end(), std::back_inserter(unknown),
               [](const Host& host) { return host.slots == 0; });
  for (const HostAnswer& answer : ask_hosts(unknown, rsh_agent)) {
    if (!answer.reached) {
      throw Error("host " + answer.host.name, answer.why_not, answer.cure);
    }
    for (Host& host : hosts) {
      if (host.name == answer.host.name) host.slots = answer.cores;
    }
  }
}

}  // namespace shoal::launch
