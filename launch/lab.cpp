// shoal lab
#include <unistd.h>
#include <csignal>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <shoal/runtime/error.hpp>

#include "command.hpp"
#include "lab/calibrate.hpp"
#include "lab/compare.hpp"
#include "lab/lab.hpp"
#include "lab/namespaces.hpp"
#include "lab/network.hpp"
#include "lab/run.hpp"
#include "lab/status.hpp"
#include "stop_signal.hpp"

namespace shoal::launch {
namespace {

constexpr const char* about_lab =
    "Makes a cluster of hosts on this machine.\n"
    "\n"
    "  shoal lab up --hosts 8 --link 1gbit\n"
    "  shoal lab run -- shoal train --data text.txt\n"
    "  shoal lab down\n"
    "\n"
    "Each host has its own name, network, shaped link and share of the processors (namespaces, "
    "control groups, tc). MPI runs over real TCP between them. Needs root.";

constexpr const char* up_description =
    "Makes the hosts and measures what they deliver.\n"
    "\n"
    "  shoal lab up --hosts 8 --link 1gbit --host 3:cpu=0.1,link=100mbit\n"
    "\n"
    "Without --cpu the hosts share the cores evenly. With it each has a hard quota, which MPI "
    "programs that spin while they wait burn up by waiting.";

constexpr const char* run_description =
    "Runs an MPI program over the hosts.\n"
    "\n"
    "  shoal lab run -- shoal info\n"
    "  shoal lab run -n 16 --ranks-per-host 2 -- ./program argument\n"
    "\n"
    "mpirun starts in host h0 and reaches the others without sshd. The exit status is the "
    "program's. OMP_NUM_THREADS=1 and SHOAL_WAIT=yield (sleep, where a host has a quota) are set, unless "
    "they are already.";

constexpr const char* compare_description =
    "Trains over the hosts against one process with as much of the processors.\n"
    "\n"
    "  shoal lab up --hosts 8 --cpu 0.25 --link 10gbit\n"
    "  shoal lab compare --mesh \"dp=8;pp=2,dp=4\" --batch-size 128 --zero 1\n"
    "\n"
    "One rank a host, on each mesh in turn, and before that one process outside of the lab. E is the speed "
    "over the one process's; beside it stands what explains it: bytes, waiting, work.";

constexpr int most_hosts = 250;

class LabCommand : public LocalCommand {
 public:
  void add_to(CLI::App& program) override {
    app_ = program.add_subcommand("lab", about_lab);
    app_->require_subcommand(1);
    add_up();
    add_run();
    status_ = add("status", "Shows hosts, links, and how much runs on them.");
    status_->add_flag("--json", status_json_, "print JSON instead of a table");
    shell_ = add("shell", "Opens a shell in a host.");
    cut_ = add("cut", "Pulls the network plug of a host.");
    heal_ = add("heal", "Puts the network plug of a host back.");
    for (CLI::App* app : {shell_, cut_, heal_}) {
      app->add_option("HOST", host_, "h3 or 3")->required()->type_name("");
    }
    add_compare();
    calibrate_ = add("calibrate", "Measures what hosts and links deliver against what was asked.");
    add_json(calibrate_);
    down_ = add("down", "Kills what runs in the lab and removes all of it.");

    hold_ = app_->add_subcommand("hold", "the process that keeps a host")->group("");
    hold_->add_option("HOST", host_)->required();
    hold_->add_option("--orders", orders_)->required();
    agent_ = app_->add_subcommand("agent", "mpirun's way into a host")->group("");
    agent_->prefix_command();
  }

  int run_alone() override {
    if (hold_->parsed()) lab::hold(orders_);
    if (geteuid() != 0) {
      throw UsageError("lab", "only root can make and enter hosts", "use sudo");
    }
    if (agent_->parsed()) lab::run_agent(agent_->remaining());
    name_ = lab::parse_name(name_);
    if (up_->parsed()) return up();
    if (down_->parsed()) return down();
    const lab::Lab lab = lab::load_running(name_);
    if (run_->parsed()) return lab::run_mpi(lab, run_options());
    if (compare_app_->parsed()) return lab::compare(lab, compare_options());
    if (status_->parsed()) {
      (status_json_ ? lab::print_status_json : lab::print_status)(lab, lab::status_of(lab));
    }
    if (calibrate_->parsed()) calibrate(lab);
    if (shell_->parsed()) lab::run_shell(lab, lab::parse_host(host_, lab.size()));
    if (cut_->parsed() || heal_->parsed()) {
      lab::set_link(lab, lab::parse_host(host_, lab.size()), heal_->parsed());
    }
    return 0;
  }

 private:
  CLI::App* add(const char* name, const char* text) {
    CLI::App* app = app_->add_subcommand(name, text);
    app->add_option("--name", name_, "which lab, where there are several")
        ->type_name("NAME")
        ->capture_default_str();
    return app;
  }
  void add_json(CLI::App* app) {
    app->add_option("--json", json_, "write the measurements as JSON")->type_name("FILE");
  }

  void add_up() {
    up_ = add("up", up_description);
    up_->add_option("--hosts", hosts_, "how many")
        ->check(CLI::Range(1, most_hosts))
        ->type_name("N")
        ->capture_default_str();
    up_->add_option("--link", link_, "speed of each link, each way: 100mbit, 2.5gbit, none")
        ->type_name("RATE")
        ->capture_default_str();
    up_->add_option("--cpu", cpu_, "hard quota of each host, in cores: 0.25 (none)")
        ->type_name("CORES");
    up_->add_option("--memory", memory_, "most memory of each host: 512M, 2G (unlimited)")
        ->type_name("SIZE");
    up_->add_option("--latency", latency_, "delay between two hosts, on top: 50us, 1ms (none)")
        ->type_name("TIME");
    up_->add_option("--host", overrides_,
                    "another speed for one host: 3:cpu=0.1,link=100mbit,memory=1G,latency=1ms; may "
                    "be repeated")
        ->type_name("N:LIST")
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    up_->add_flag("--no-calibration", no_calibration_, "do not measure the hosts at the end");
    add_json(up_);
  }

  void add_run() {
    run_ = add("run", run_description);
    run_->add_option("-n,--ranks", ranks_,
                     "ranks in all (default: all that --ranks-per-host gives)")
        ->type_name("N");
    run_->add_option("--ranks-per-host", ranks_per_host_,
                     "ranks that share a host; hosts are filled in order (default: as few as will "
                     "do)")
        ->type_name("N");
    // One argument a time: a list would swallow the -- before the command.
    run_->add_option("--mpi-arg", mpi_args_, "a further argument of mpirun; may be repeated")
        ->type_name("ARG")
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    run_->add_option("COMMAND", command_, "behind --: program and arguments; shoal is this one")
        ->type_name("");
  }

  void add_compare() {
    CLI::App* app = compare_app_ = add("compare", compare_description);
    app->add_option("--mesh", compare_.meshes,
                    "layouts of the hosts, separated by semicolons (default: every one of dp, pp and tp up "
                    "to 4)")
        ->delimiter(';')
        ->allow_extra_args(false)
        ->type_name("dp=N,tp=N,pp=N;...");
    const auto option = [&](const char* name, auto& value, const char* type, const char* text) {
      return app->add_option(name, value, text)->type_name(type)->capture_default_str();
    };
    option("--config", compare_.config, "NAME", "nano, small, gpt2 or gpt2-512, as in bench train");
    option("--dtype", compare_.type, "TYPE", "fp32 or bf16");
    option("--batch-size", compare_.batch_size, "N",
           "sequences of a step, over all hosts; 0: those of the configuration");
    option("--grad-accum", compare_.micro_batches, "N",
           "micro-batches of a step; 0: up to eight for each stage, otherwise one");
    app->add_option("--zero", compare_.shard_optimizer, "1: each dp rank updates a part of the weights")
        ->check(CLI::IsMember({0, 1}))
        ->type_name("0|1");
    option("--gradient-dtype", compare_.gradient_type, "TYPE",
           "in which gradients travel between dp ranks, as in train: fp32 or bf16");
    option("--gather-dtype", compare_.gather_type, "TYPE",
           "in which new weights travel with --zero 1, as in train: fp32 or bf16");
    option("--warm-up", compare_.warm_up, "N", "steps before those that are timed")
        ->check(CLI::Range(1, 1000));
    option("--steps", compare_.steps, "N", "timed steps")->check(CLI::Range(1, 100000));
    add_json(app);
  }

  lab::CompareOptions compare_options() const {
    lab::CompareOptions options = compare_;
    options.json = json_;
    return options;
  }

  lab::RunOptions run_options() const {
    lab::RunOptions options;
    if (run_->count("--ranks") > 0) options.ranks = ranks_;
    if (run_->count("--ranks-per-host") > 0) options.ranks_per_host = ranks_per_host_;
    options.mpi_args = mpi_args_;
    options.command = command_;
    return options;
  }

  std::vector<lab::HostSpec> specs() const {
    lab::HostSpec each;
    each.link = lab::parse_link(link_);
    if (!cpu_.empty()) each.cpu = lab::parse_cpu(cpu_);
    if (!memory_.empty()) each.memory = lab::parse_memory(memory_);
    if (!latency_.empty()) each.latency = lab::parse_latency(latency_);
    std::vector<lab::HostSpec> all(static_cast<std::size_t>(hosts_), each);
    for (const std::string& text : overrides_) lab::apply_override(text, all);
    return all;
  }

  int up() {
    const std::vector<lab::HostSpec> hosts = specs();
    lab::Lab lab;
    try {
      const StopSignal stop;
      lab = lab::make(name_, hosts, [&stop] { return stop.received(); });
    } catch (const lab::Interrupted& interrupted) {
      fmt::print(stderr, "shoal: lab up: interrupted; nothing is left of it\n");
      return 128 + interrupted.signal;
    }
    fmt::print("lab {}: {} host{} up\n", name_, lab.size(), lab.size() == 1 ? "" : "s");
    std::fflush(stdout);
    if (!no_calibration_) calibrate(lab);
    return 0;
  }

  int down() {
    fmt::print("{}\n", lab::remove(name_) ? "lab " + name_ + ": down"
                                          : "lab " + name_ + ": nothing to take down");
    return 0;
  }

  void calibrate(const lab::Lab& lab) {
    const std::vector<lab::Delivered> delivered = lab::calibrate(lab);
    lab::print_calibration(lab, delivered);
    if (!json_.empty()) lab::write_calibration(lab, delivered, json_);
  }

  lab::CompareOptions compare_;
  CLI::App* compare_app_ = nullptr;
  CLI::App *up_ = nullptr, *run_ = nullptr, *status_ = nullptr, *shell_ = nullptr, *cut_ = nullptr,
           *heal_ = nullptr, *down_ = nullptr, *calibrate_ = nullptr, *hold_ = nullptr,
           *agent_ = nullptr;
  std::string name_ = "shoal", link_ = "1gbit", cpu_, memory_, latency_, host_, json_;
  std::vector<std::string> overrides_, mpi_args_, command_;
  int hosts_ = 4, ranks_ = 0, ranks_per_host_ = 0, orders_ = -1;
  bool no_calibration_ = false, status_json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_lab_command() { return std::make_unique<LabCommand>(); }

}  // namespace shoal::launch
