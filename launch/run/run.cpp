// shoal run
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <shoal/runtime/error.hpp>

#include "../command.hpp"
#include "../default_mesh.hpp"
#include "host_flags.hpp"
#include "job.hpp"
#include "layout.hpp"
#include "local_host.hpp"
#include "pins.hpp"
#include "reach.hpp"
#include "restart.hpp"

namespace shoal::launch {
namespace {

constexpr const char* about_run =
    "Starts a job over all cores of one machine or many.\n"
    "\n"
    "  shoal run -- train --data text.txt\n"
    "  shoal run --hosts node1,node2 --restarts 3 -- train --data text.txt\n"
    "  shoal run -n 8 -- ./my_program its arguments\n"
    "\n"
    "What stands behind -- is a subcommand of shoal or any MPI program. The ranks are started by "
    "mpirun or, in a Slurm allocation, by srun: one a core, each bound to its own; if there are "
    "more "
    "of them than cores they share, and those that wait let others work. The exit status is that "
    "of "
    "the first rank that failed. Ctrl-C lets train write a checkpoint first; a second one ends it.";

constexpr int most_ranks = 1 << 20;

// CLI11 takes "[a,b]" apart, and the program's words must reach it as they are.
std::optional<Words> words_behind_dashes() {
  std::ifstream in("/proc/self/cmdline", std::ios::binary);
  Words words;
  for (std::string word; std::getline(in, word, '\0');) words.push_back(word);
  const auto dashes = std::find(words.begin(), words.end(), "--");
  if (dashes == words.end()) return std::nullopt;
  return Words(dashes + 1, words.end());
}

bool can_execute(const std::string& program) {
  if (program.find('/') != std::string::npos) return access(program.c_str(), X_OK) == 0;
  const char* path = std::getenv("PATH");
  std::string rest = path != nullptr ? path : "";
  while (!rest.empty()) {
    const auto colon = std::min(rest.find(':'), rest.size());
    if (access((rest.substr(0, colon) + '/' + program).c_str(), X_OK) == 0) return true;
    rest.erase(0, colon + 1);
  }
  return false;
}

std::string count_of(std::size_t count, const char* what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

std::string list_of(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

// The mesh that a training's flags name; "auto" is found by the ranks themselves.
std::optional<std::string> mesh_flag(const Words& words) {
  std::optional<std::string> mesh = flag_value(words, "--mesh");
  if (mesh == "auto") mesh.reset();
  return mesh;
}

class RunCommand : public LocalCommand {
 public:
  void add_to(CLI::App& program) override {
    app_ = program.add_subcommand("run", about_run);
    program_ = &program;
    const char* group = "Ranks";
    const auto add = [&](const char* name, std::optional<int>& value, int most, const char* type,
                         const char* text) {
      app_->add_option(name, value, text)
          ->group(group)
          ->check(CLI::Range(1, most))
          ->type_name(type);
    };
    add("-n,--ranks", wish_.ranks, most_ranks, "N",
        "ranks; default: those of train's --mesh, or else one a core");
    add("--ranks-per-host", wish_.ranks_per_host, most_ranks, "K", "ranks of each host");
    add("--threads", wish_.threads, 65536, "T",
        "compute threads of a rank; default: OMP_NUM_THREADS, or else all cores divided by ranks");
    hosts_.add_to(*app_);
    group = "Behaviour";
    app_->add_option("--restarts", restarts_,
                     "start again up to R times after a failure: train goes on from its newest "
                     "checkpoint, on the hosts that still answer")
        ->group(group)
        ->check(CLI::Range(0, 1000000))
        ->type_name("R")
        ->capture_default_str();
    app_->add_flag("--quiet", quiet_, "only what rank 0 writes, without [rank@host]")->group(group);
    app_->add_flag("--verbose", verbose_, "the words of mpirun or srun too")->group(group);
    app_->add_flag("--dry-run", dry_run_, "print the line for mpirun or srun, and start nothing")
        ->group(group);
    // Not in the help, which says it better; nor is what other hosts and ranks are asked.
    app_->add_option("COMMAND", words_)->expected(-1)->group("");
    app_->add_flag("--answer", answer_)->group("");
    app_->add_option("--sweep", sweep_)->group("");
    app_->add_option("--pin", pin_)->group("");
  }

  int run_alone() override {
    if (answer_) {
      std::fputs(own_answer().c_str(), stdout);
      return 0;
    }
    if (!sweep_.empty()) {
      sweep_here(sweep_);
      return 0;
    }
    if (!pin_.empty()) run_pinned(parse_pins(pin_), words_behind_dashes().value_or(Words{}));
    if (std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr || std::getenv("PMIX_RANK") != nullptr) {
      throw UsageError("run", "this is a rank of an MPI job already",
                       "call shoal run by itself, without mpirun or srun");
    }
    find_program();
    ground_ = find_ground(hosts_);
    if (ground_.slurm) take_wishes_of_slurm(*ground_.slurm);
    if (const char* threads = std::getenv("OMP_NUM_THREADS"); threads && !wish_.threads) {
      const int count = std::atoi(threads);
      if (count > 0) wish_.threads = count;
    }
    if (is_train_ && !wish_.ranks && !wish_.ranks_per_host) {
      if (const auto mesh = mesh_flag(words_); mesh && !mesh->empty()) {
        wish_.ranks = MeshShape::parse(*mesh).size();
      }
    }
    count_slots(ground_.hosts, hosts_.rsh_agent);
    JobLine job = line_for(ground_.hosts, wish_);
    if (dry_run_) {
      fmt::print("{}\n", shell_line(ground_.starter == Starter::mpirun ? mpirun_line(job)
                                                                       : srun_line(job)));
      return 0;
    }
    if (!quiet_) fmt::print(stderr, "shoal run: {}\n", summary(job));
    return run_with_restarts(job);
  }

 private:
  void find_program() {
    if (const auto exact = words_behind_dashes()) words_ = *exact;
    if (words_.empty()) {
      throw UsageError("run", "nothing to run",
                       "write a subcommand or a program behind --, like: shoal run -- info");
    }
    const std::string& first = words_.front();
    const auto named = [&](const CLI::App* app) { return app->get_name() == first; };
    if (!program_->get_subcommands(named).empty()) {
      for (const char* alone : {"run", "doctor", "lab"}) {
        if (first == alone) throw UsageError("run", "shoal " + first + " is not for many ranks");
      }
      is_train_ = first == "train";
      words_.insert(words_.begin(), own_executable());
    } else if (!can_execute(first)) {
      throw UsageError("run", "\"" + first + "\" is neither a subcommand of shoal nor a program",
                       "see shoal --help, or give the program's path");
    }
  }

  // What the job asked of Slurm holds unless the command line says otherwise.
  void take_wishes_of_slurm(const SlurmAllocation& slurm) {
    if (!wish_.threads && slurm.cpus_per_task) wish_.threads = slurm.cpus_per_task;
    if (wish_.ranks || wish_.ranks_per_host) return;
    if (slurm.tasks_per_node) {
      wish_.ranks_per_host = slurm.tasks_per_node;
    } else if (slurm.tasks && hosts_.hosts.empty() && hosts_.hostfile.empty()) {
      wish_.ranks = slurm.tasks;
    }
  }

  JobLine line_for(const std::vector<Host>& hosts, const LayoutWish& wish) const {
    JobLine job;
    job.layout = lay_out(hosts, wish);
    job.program = words_;
    job.name_hosts = ground_.named;
    job.rsh_agent = hosts_.rsh_agent;
    if (!ground_.named && ground_.starter == Starter::mpirun && job.layout.ranks() > 1 &&
        !job.layout.oversubscribed) {
      const AllowedCores allowed = allowed_cores();
      if (!allowed.whole) {
        job.pins = deal_cores(allowed.cores, job.layout.ranks(), job.layout.threads);
      }
    }
    return job;
  }

  std::string summary(const JobLine& job) const {
    const Layout& layout = job.layout;
    std::string text = count_of(static_cast<std::size_t>(layout.ranks()), "rank") + " on ";
    if (layout.shares.size() == 1) {
      text += ground_.named ? layout.shares.front().host.name : "this machine";
    } else {
      text += count_of(layout.shares.size(), "host");
      if (layout.shares.size() <= 4) {
        std::vector<std::string> parts;
        for (const Layout::Share& share : layout.shares) {
          parts.push_back(fmt::format("{} {}", share.host.name, share.ranks));
        }
        text += " (" + list_of(parts) + ")";
      }
    }
    text += ", " + count_of(static_cast<std::size_t>(layout.threads), "thread") + " each";
    if (layout.oversubscribed) text += ", more than cores: they share";
    if (is_train_) text += mesh_note(job);
    if (ground_.slurm) text += ground_.starter == Starter::srun ? ", by srun" : ", by mpirun";
    return text;
  }

  std::string mesh_note(const JobLine& job) const {
    const auto mesh = flag_value(job.program, "--mesh");
    if (mesh && !mesh->empty()) return *mesh == "auto" ? "" : ", mesh " + *mesh;
    // A resumed training takes the heads of its checkpoint.
    if (has_flag(job.program, "--resume")) return "";
    const std::string heads = flag_value(job.program, "--n-head").value_or("12");
    const long count = std::atol(heads.c_str());
    return count < 1 ? "" : ", mesh " + choose_mesh("", job.layout.ranks(), count).text();
  }

  int run_with_restarts(JobLine job) {
    JobOptions options;
    options.starter = ground_.starter;
    options.quiet = quiet_;
    options.verbose = verbose_;
    options.stops_in_order = is_train_;
    SignalQueue signals;
    for (int restart = 0;; ++restart) {
      JobEnd end = run_job(job, options, signals);
      if (!end.began && end.user_signal == 0) {
        // Open MPI's daemons now and then miss each other as they connect: no fault of a host.
        if (!quiet_) fmt::print(stderr, "shoal run: {}; trying once more\n", end.text());
        end = run_job(job, options, signals);
      }
      // Wrong input stays wrong, and a user who stops a job means it.
      const bool final = end.status == 0 || end.status == 2 || end.user_signal != 0;
      if (!final) {
        fmt::print(stderr, "shoal run: {}\n", end.text());
      }
      if (final || restart == restarts_) return end.status;
      const std::string change = change_for_restart(job);
      if (quiet_) continue;
      fmt::print(stderr, "shoal run: starting again ({} of {}): {}{}\n", restart + 1, restarts_,
                 summary(job), change);
    }
  }

  // Fits the job to the hosts that are left; says what is different.
  std::string change_for_restart(JobLine& job) {
    std::vector<Host> alive;
    std::vector<std::string> gone;
    // All of them are asked, for one may be back.
    if (ground_.named) {
      for (const HostAnswer& answer : ground_.slurm ? ask_slurm_nodes(ground_.hosts)
                                                    : ask_hosts(ground_.hosts, hosts_.rsh_agent)) {
        if (answer.reached) {
          alive.push_back(answer.host);
        } else {
          gone.push_back(answer.host.name);
        }
      }
      if (alive.empty()) throw Error("run", "no host is left", "see shoal doctor --hosts ...");
    } else {
      alive = ground_.hosts;
    }
    LayoutWish wish = wish_;
    const int wanted = lay_out(ground_.hosts, wish_).ranks();
    if (!gone.empty()) wish.ranks = ranks_left(alive, wanted);
    if (is_train_) {
      job.program = resumed_words(words_);
      const auto mesh = mesh_flag(words_);
      if (mesh && !mesh->empty() && wish.ranks && *wish.ranks < wanted) {
        const MeshFit fit = fit_mesh(*mesh, *wish.ranks);
        wish.ranks = fit.ranks;
        job.program = without_flag(job.program, "--mesh");
        if (!fit.mesh.empty()) {
          job.program.insert(job.program.end(), {"--mesh", fit.mesh});
        }
      }
    }
    const Words program = job.program;
    job = line_for(alive, wish);
    job.program = program;
    std::string text;
    if (!gone.empty()) text += "; without " + list_of(gone);
    if (is_train_) {
      text += has_flag(program, "--resume") ? "; from the newest checkpoint"
                                            : "; from the beginning, there is no checkpoint";
    }
    return text;
  }

  // No more ranks a core than before.
  int ranks_left(const std::vector<Host>& alive, int wanted) const {
    const auto slots = [](const std::vector<Host>& hosts) {
      std::int64_t sum = 0;
      for (const Host& host : hosts) sum += host.slots;
      return sum;
    };
    if (wish_.ranks_per_host) {
      return std::min(wanted, *wish_.ranks_per_host * static_cast<int>(alive.size()));
    }
    const std::int64_t before = slots(ground_.hosts);
    const std::int64_t now = slots(alive);
    const std::int64_t fair =
        wanted <= before ? std::min<std::int64_t>(wanted, now) : wanted * now / before;
    return static_cast<int>(std::max<std::int64_t>(1, fair));
  }

  CLI::App* program_ = nullptr;
  LayoutWish wish_;
  HostFlags hosts_;
  Ground ground_;
  int restarts_ = 0;
  bool quiet_ = false, verbose_ = false, dry_run_ = false, answer_ = false;
  std::string sweep_, pin_;
  Words words_;
  bool is_train_ = false;
};

}  // namespace

std::unique_ptr<Command> make_run_command() { return std::make_unique<RunCommand>(); }

}  // namespace shoal::launch
