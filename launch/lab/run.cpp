#include "run.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <shoal/runtime/error.hpp>

#include "namespaces.hpp"
#include "network.hpp"
#include "process.hpp"
#include "run_processes.hpp"

namespace shoal::launch::lab {
namespace {

namespace fs = std::filesystem;

constexpr int most_ranks_per_host = 1024;
// How long mpirun may take to end a run in order.
constexpr std::chrono::seconds orderly_end{10};

std::string executable() { return fs::read_symlink("/proc/self/exe"); }

// Becomes the program, or ends with a shell's status for one that cannot be started.
[[noreturn]] void become(const std::vector<std::string>& words) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  fmt::print(stderr, "shoal: lab: cannot start {}: {}\n", words[0], std::strerror(errno));
  _exit(127);
}

void set_default(const char* name, const std::string& value) { setenv(name, value.c_str(), 0); }

// For temporary files and the sessions of Open MPI's daemons: those of two hosts must not meet.
void use_own_temporary_folder(const Lab& lab, int host) {
  setenv("TMPDIR", (lab_folder(lab.name) + "/" + host_name(host)).c_str(), 1);
}

// For mpirun, its daemons and the ranks, unless the user has set other values. mpirun's own flags
// (--mpi-arg) take precedence.
void set_environment(const Lab& lab, const std::string& id) {
  const bool quotas = std::any_of(lab.hosts.begin(), lab.hosts.end(),
                                  [](const Host& host) { return host.spec.cpu.has_value(); });
  setenv(RunProcesses::variable, id.c_str(), 1);
  set_default("OMPI_ALLOW_RUN_AS_ROOT", "1");
  set_default("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
  set_default("OMPI_MCA_pml", "ob1");
  set_default("OMPI_MCA_btl", "tcp,self,vader");
  set_default("OMPI_MCA_btl_tcp_if_include", host_interface);
  set_default("OMPI_MCA_oob_tcp_if_include", host_interface);
  // All hosts share the cores of one machine: who waits must not keep others from computing.
  set_default("OMPI_MCA_mpi_yield_when_idle", "1");
  set_default("OMPI_MCA_hwloc_base_binding_policy", "none");
  set_default("OMPI_MCA_rmaps_base_mapping_policy", "slot");
  // Under a quota the time in which a rank yields is lost to it.
  set_default("SHOAL_WAIT", quotas ? "sleep" : "yield");
  set_default("OMP_NUM_THREADS", "1");
}

// What mpirun reads, for as long as it runs.
class RunFolder {
 public:
  RunFolder(const Lab& lab, const std::string& id, int slots)
      : path_(lab_folder(lab.name) + "/run." + id) {
    fs::create_directory(path_);
    // mpirun takes the agent apart at blanks, which the path of the executable may have.
    fs::create_symlink(executable(), agent());
    std::ofstream file(host_file());
    for (int i = 0; i < lab.size(); ++i) file << host_name(i) << " slots=" << slots << '\n';
    file.close();
    if (!file) throw Error("lab run", "cannot write " + host_file());
  }
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;
  ~RunFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }

  std::string agent() const { return path_ + "/shoal"; }
  std::string host_file() const { return path_ + "/hosts"; }

 private:
  std::string path_;
};

// Signals that this process takes one by one instead of being ended by them.
class SignalQueue {
 public:
  SignalQueue() {
    sigemptyset(&set_);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) sigaddset(&set_, signal);
    sigprocmask(SIG_BLOCK, &set_, &before_);
  }
  SignalQueue(const SignalQueue&) = delete;
  SignalQueue& operator=(const SignalQueue&) = delete;
  ~SignalQueue() { restore(); }

  void restore() const { sigprocmask(SIG_SETMASK, &before_, nullptr); }
  /// The next one; 0 if none comes within a second.
  int next(siginfo_t& info) const {
    const timespec second{1, 0};
    const int signal = sigtimedwait(&set_, &info, &second);
    return signal > 0 ? signal : 0;
  }

 private:
  sigset_t set_{};
  sigset_t before_{};
};

// Tells when a run is over although mpirun waits on: for the daemon of a host that was cut off.
class Watch {
 public:
  explicit Watch(const RunProcesses& processes) : processes_(processes) {}

  /// To be asked every second or so. True if no rank can be reached any more, and that for a while.
  bool over(std::chrono::steady_clock::time_point now) {
    const int left = processes_.ranks();
    most_ = std::max(most_, left);
    const bool none = left < most_ && (left == 0 || processes_.ranks_plugged_in() == 0);
    if (!none) reached_ = now;
    return none && now > reached_ + patience;
  }

 private:
  static constexpr std::chrono::seconds patience{5};
  const RunProcesses& processes_;
  int most_ = 0;
  std::chrono::steady_clock::time_point reached_;
};

// Waits for mpirun. The first signal is passed on, and gives it a while; the second one, at least a
// second later, ends the run at once.
int supervise(Child& mpirun, const SignalQueue& signals, const RunProcesses& processes) {
  using Clock = std::chrono::steady_clock;
  std::optional<Clock::time_point> asked;
  int first_signal = 0;
  Watch watch(processes);
  while (!mpirun.ended()) {
    siginfo_t info{};
    const int signal = signals.next(info);
    const Clock::time_point now = Clock::now();
    if (asked && now > *asked + orderly_end) return 128 + first_signal;
    if (signal == 0 && watch.over(now)) {
      fmt::print(stderr,
                 "shoal: lab run: no rank can be reached any more, but mpirun has not ended: it is "
                 "ended now; shoal lab status shows which hosts are cut\n");
      return 1;
    }
    if (signal == 0 || signal == SIGCHLD) continue;
    if (asked) {
      if (now > *asked + std::chrono::seconds(1)) return 128 + first_signal;
      continue;
    }
    asked = now;
    first_signal = signal;
    // The terminal's Ctrl-C has reached mpirun too, which would take a second one for impatience.
    const bool from_terminal = signal == SIGINT && info.si_code == SI_KERNEL;
    if (!from_terminal) kill(mpirun.pid(), signal == SIGHUP ? SIGTERM : signal);
  }
  // mpirun itself says 1 for a run that was stopped.
  return asked && mpirun.status() != 0 ? 128 + first_signal : mpirun.status();
}

}  // namespace

RankCounts count_ranks(int hosts, std::optional<int> ranks, std::optional<int> per_host) {
  const auto check = [](const char* flag, const std::optional<int>& value, int most) {
    if (value && (*value < 1 || *value > most)) {
      throw UsageError("lab run", fmt::format("{} {} is out of range", flag, *value),
                       fmt::format("give a number from 1 to {}", most));
    }
  };
  check("--ranks-per-host", per_host, most_ranks_per_host);
  check("-n", ranks, most_ranks_per_host * hosts);
  RankCounts counts;
  counts.per_host = per_host.value_or(ranks ? (*ranks + hosts - 1) / hosts : 1);
  counts.ranks = ranks.value_or(counts.per_host * hosts);
  if (counts.ranks > counts.per_host * hosts) {
    throw UsageError("lab run",
                     fmt::format("{} ranks do not fit on {} hosts with {} each", counts.ranks,
                                 hosts, counts.per_host),
                     "give fewer ranks, or more to a host");
  }
  return counts;
}

int run_mpi(const Lab& lab, const RunOptions& options) {
  if (options.command.empty()) {
    throw UsageError("lab run", "no program is given", "write it behind --, like -- shoal info");
  }
  if (!program_exists("mpirun")) {
    throw Error("lab run", "there is no mpirun", "apt-get install openmpi-bin");
  }
  const RankCounts counts = count_ranks(lab.size(), options.ranks, options.ranks_per_host);
  lab.require_alive();

  const std::string id = fmt::format("{}.{}", lab.name, getpid());
  const RunFolder folder(lab, id, counts.per_host);
  std::vector<std::string> words{"mpirun",
                                 "-n",
                                 std::to_string(counts.ranks),
                                 "--hostfile",
                                 folder.host_file(),
                                 "--mca",
                                 "plm_rsh_agent",
                                 // Open MPI loses a last word of one letter, as a name may be.
                                 fmt::format("{} lab agent {} --", folder.agent(), lab.name)};
  words.insert(words.end(), options.mpi_args.begin(), options.mpi_args.end());
  words.insert(words.end(), options.command.begin(), options.command.end());
  std::string& program = words[words.size() - options.command.size()];
  if (program == "shoal") program = executable();

  const RunProcesses processes(lab, id);
  const SignalQueue signals;
  int status = 1;
  {
    const pid_t pid = fork();
    if (pid < 0) throw Error("lab run", std::string("fork: ") + std::strerror(errno));
    if (pid == 0) {
      try {
        signals.restore();
        // Should this command be killed, its run must end too.
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        enter(lab, 0);
        use_own_temporary_folder(lab, 0);
        set_environment(lab, id);
        become(words);
      } catch (const std::exception& error) {
        fmt::print(stderr, "shoal: {}\n", error.what());
        _exit(1);
      }
    }
    Child mpirun(pid);
    status = supervise(mpirun, signals, processes);
  }
  processes.kill_all();
  return status;
}

int run_outside(std::vector<std::string> command, int threads) {
  if (command.front() == "shoal") command.front() = executable();
  const pid_t pid = fork();
  if (pid < 0) throw Error("lab", std::string("fork: ") + std::strerror(errno));
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    set_default("OMPI_ALLOW_RUN_AS_ROOT", "1");
    set_default("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    setenv("OMP_NUM_THREADS", std::to_string(threads).c_str(), 1);
    become(command);
  }
  Child child(pid);
  while (!child.wait(Seconds{1.0})) {
  }
  return child.status();
}

void run_agent(std::vector<std::string> words) {
  if (words.size() > 1 && words[1] == "--") words.erase(words.begin() + 1);
  if (words.size() < 3) throw UsageError("lab agent", "give lab, host and command");
  const Lab lab = load_running(words[0]);
  const int host = parse_host(words[1], lab.size());
  // Namespaces can be entered without a network; a host that ssh would not reach is not reached.
  if (!links_up(lab)[static_cast<std::size_t>(host)]) {
    throw Error("lab agent", "no route to host " + host_name(host) + ": its plug is pulled",
                "shoal lab heal " + host_name(host));
  }
  // ssh gives the remote shell its words joined by blanks.
  std::string command;
  for (std::size_t i = 2; i < words.size(); ++i) command += (i > 2 ? " " : "") + words[i];
  enter(lab, host);
  use_own_temporary_folder(lab, host);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  become({"/bin/sh", "-c", command});
}

void run_shell(const Lab& lab, int host) {
  enter(lab, host);
  use_own_temporary_folder(lab, host);
  const char* shell = std::getenv("SHELL");
  become({shell != nullptr && *shell != '\0' ? shell : "/bin/sh"});
}

}  // namespace shoal::launch::lab
