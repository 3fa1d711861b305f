#include "command_line.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <set>
#include <string_view>

#include <shoal/runtime/settings.hpp>

#include "reach.hpp"

extern char** environ;

namespace shoal::launch {
namespace {

constexpr const char* forwarded_prefixes[] = {"SHOAL_", "OMP_", "OPENBLAS_", "ONEDNN_", "DNNL_"};

// Names of what a rank on another host should find as we do; OMP_NUM_THREADS is set for each job.
std::set<std::string> forwarded_names() {
  std::set<std::string> names;
  for (char** at = environ; *at != nullptr; ++at) {
    const std::string_view entry = *at;
    const std::string_view name = entry.substr(0, entry.find('='));
    const bool wanted =
        std::any_of(std::begin(forwarded_prefixes), std::end(forwarded_prefixes),
                    [&](const char* prefix) { return name.rfind(prefix, 0) == 0; }) ||
        name == "LD_LIBRARY_PATH" || name == "PATH";
    if (wanted && name != "OMP_NUM_THREADS") names.emplace(name);
  }
  return names;
}

void append(Words& words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
}

// mpirun and its daemons ask each other for a sign of life where they have nothing to say, so that
// both sides of a cable that was pulled end. Later than the ranks' own watch, which can say which
// rank is lost and what the others waited in.
Words keepalive() {
  constexpr int after_silence_s = 5;
  const int idle = static_cast<int>(std::ceil(settings().silence.count())) + after_silence_s;
  return {"--mca", "oob_tcp_keepalive_time",   std::to_string(idle),
          "--mca", "oob_tcp_keepalive_intvl",  "1",
          "--mca", "oob_tcp_keepalive_probes", "3"};
}

}  // namespace

Words mpirun_line(const JobLine& job) {
  const Layout& layout = job.layout;
  const std::string threads = std::to_string(layout.threads);
  Words words{"mpirun"};
  if (geteuid() == 0) words.emplace_back("--allow-run-as-root");
  append(words, {"-n", std::to_string(layout.ranks())});
  if (job.name_hosts) {
    std::string hosts;
    for (const Layout::Share& share : layout.shares) {
      hosts += (hosts.empty() ? "" : ",") + share.host.name + ':' + std::to_string(share.ranks);
    }
    append(words, {"--host", hosts});
    if (!job.rsh_agent.empty()) append(words, {"--mca", "plm_rsh_agent", job.rsh_agent});
    append(words, keepalive());
  } else {
    // What mpirun takes for the number of slots need not be the cores we counted.
    words.emplace_back("--oversubscribe");
  }
  if (layout.oversubscribed) {
    append(words, {"--map-by", "slot", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"});
  } else if (!job.pins.empty() || (layout.ranks() == 1 && !job.name_hosts)) {
    append(words, {"--bind-to", "none"});
  } else if (layout.threads == 1) {
    append(words, {"--map-by", "core", "--bind-to", "core"});
  } else {
    append(words, {"--map-by", "slot:PE=" + threads, "--bind-to", "core"});
  }
  append(words, {"-x", "OMP_NUM_THREADS=" + threads});
  if (job.name_hosts) {
    for (const std::string& name : forwarded_names()) append(words, {"-x", name});
  }
  if (!job.pins.empty()) {
    append(words, {own_executable(), "run", "--pin", pins_text(job.pins), "--"});
  }
  append(words, job.program);
  return words;
}

Words srun_line(const JobLine& job) {
  const Layout& layout = job.layout;
  const std::string threads = std::to_string(layout.threads);
  Words words{"env", "OMP_NUM_THREADS=" + threads};
  // srun has no flag for it; ranks take Open MPI's settings from the environment.
  if (layout.oversubscribed) words.emplace_back("OMPI_MCA_mpi_yield_when_idle=1");
  std::string hosts;
  bool even = true;
  for (const Layout::Share& share : layout.shares) {
    hosts += (hosts.empty() ? "" : ",") + share.host.name;
    even = even && share.ranks == layout.shares.front().ranks;
  }
  append(words, {"srun", "--mpi=pmix", "--nodes=" + std::to_string(layout.shares.size()),
                 "--nodelist=" + hosts, "--ntasks=" + std::to_string(layout.ranks())});
  if (even) {
    words.push_back("--ntasks-per-node=" + std::to_string(layout.shares.front().ranks));
  }
  if (layout.oversubscribed) {
    append(words, {"--cpus-per-task=1", "--overcommit", "--cpu-bind=none"});
  } else {
    append(words, {"--cpus-per-task=" + threads, "--cpu-bind=cores"});
  }
  append(words, {"--distribution=block", "--kill-on-bad-exit=1", "--export=ALL"});
  append(words, job.program);
  return words;
}

}  // namespace shoal::launch
