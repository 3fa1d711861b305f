// shoal doctor
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <shoal/runtime/error.hpp>

#include "../command.hpp"
#include "../run/host_flags.hpp"
#include "../run/job.hpp"
#include "../run/local_host.hpp"
#include "../run/reach.hpp"
#include "checks.hpp"

namespace shoal::launch {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* about_doctor =
    "Checks the hosts of a job, and says what to do about what it finds.\n"
    "\n"
    "  shoal doctor --hosts node1,node2,node3\n"
    "\n"
    "Starts one rank a host (two on a single machine), as shoal run would, and measures latency "
    "and "
    "bandwidth between every two of them. ✓: good; !: works, but could be better; ✗: has to be "
    "cured. The exit status is 1 if anything has a ✗.";

class DoctorCommand : public LocalCommand {
 public:
  void add_to(CLI::App& program) override {
    app_ = program.add_subcommand("doctor", about_doctor);
    flags_.add_to(*app_);
    const char* group = "Measurement";
    app_->add_option("--seconds", seconds_, "for all pairs together")
        ->group(group)
        ->check(CLI::Range(0.01, 3600.0))
        ->type_name("X")
        ->capture_default_str();
    app_->add_option("--json", json_, "write facts, measurements and findings as JSON")
        ->group(group)
        ->type_name("FILE");
  }

  int run_alone() override {
    Ground ground = find_ground(flags_);
    std::ofstream json;
    if (!json_.empty()) {
      json.open(json_);
      if (!json) throw UsageError("--json " + json_, "cannot be written");
    }
    std::vector<Check> checks;
    const std::vector<Host> hosts = reachable(ground, checks);
    Json found = Json::object();
    if (!hosts.empty()) found = probe(ground, hosts, checks);
    if (ground.slurm && ground.starter == Starter::mpirun) {
      checks.push_back({"srun and PMIx", Mark::advice, "Slurm's srun serves no PMIx",
                        hosts.empty() ? "" : hosts.front().name,
                        "install Slurm's mpi_pmix plugin; until then use mpirun or shoal run"});
    }
    std::fputs(table_of(checks).c_str(), stdout);
    const bool healthy = std::none_of(checks.begin(), checks.end(),
                                      [](const Check& check) { return check.mark == Mark::bad; });
    if (json.is_open()) {
      found["healthy"] = healthy;
      for (const Check& check : checks) {
        found["checks"].push_back({{"check", check.name},
                                   {"mark", check.mark == Mark::good     ? "good"
                                            : check.mark == Mark::advice ? "advice"
                                                                         : "bad"},
                                   {"host", check.host},
                                   {"text", check.text},
                                   {"cure", check.cure}});
      }
      json << found.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
      json.close();
      if (!json) throw Error("doctor", "cannot write " + json_, "see whether the disk has room");
    }
    return healthy ? 0 : 1;
  }

 private:
  // The hosts that answer and run the same Shoal; MPI would only fail on the others.
  std::vector<Host> reachable(const Ground& ground, std::vector<Check>& checks) const {
    if (ground.slurm || !ground.named) return ground.hosts;
    std::vector<Host> hosts;
    const std::vector<HostAnswer> answers = ask_hosts(ground.hosts, flags_.rsh_agent);
    const std::string own = own_answer();
    for (const HostAnswer& answer : answers) {
      const std::string& name = answer.host.name;
      if (!answer.reached) {
        checks.push_back({"reachable", Mark::bad, answer.why_not, name, answer.cure});
        continue;
      }
      checks.push_back({"reachable", Mark::good, "yes", name, ""});
      const bool same = own.find(' ' + answer.version + ' ' + answer.mpi) != std::string::npos;
      if (!same) {
        checks.push_back({"same versions", Mark::bad, answer.version + ", " + answer.mpi, name,
                          "install the same Shoal and MPI as here"});
        continue;
      }
      hosts.push_back({name, answer.host.slots > 0 ? answer.host.slots : answer.cores});
    }
    return hosts;
  }

  // What the ranks found. A job that does not get through is a finding too.
  Json probe(const Ground& ground, std::vector<Host> hosts, std::vector<Check>& checks) const {
    JobLine job;
    LayoutWish wish;
    wish.ranks_per_host = 1;
    if (!ground.named) {
      hosts.front().slots = usable_cores();
      wish.ranks_per_host = 2;
    }
    job.layout = lay_out(hosts, wish);
    job.layout.threads = 1;
    // Nobody is bound: the doctor asks what there is to bind to.
    job.layout.oversubscribed = true;
    job.name_hosts = ground.named;
    job.rsh_agent = flags_.rsh_agent;
    job.program = {own_executable(), "doctor-probe", "--seconds", fmt::format("{}", seconds_)};
    if (ground.named) {
      std::string names;
      for (const Host& host : hosts) names += (names.empty() ? "" : ",") + host.name;
      job.program.insert(job.program.end(), {"--names", names});
    }
    std::string output;
    JobOptions options;
    options.starter = ground.starter;
    options.captured_output = &output;
    SignalQueue signals;
    const JobEnd end = run_job(job, options, signals);
    if (end.user_signal != 0) throw Error("doctor", "stopped by a signal");
    const Json found = Json::parse(output, nullptr, false);
    if (end.status != 0 || !found.is_object() || !found.contains("hosts") ||
        static_cast<int>(found.at("hosts").size()) != job.layout.ranks()) {
      checks.push_back(failed_start(ground, end, output));
      return Json::object();
    }
    judge(ground, hosts, found, checks);
    return found;
  }

  static void judge(const Ground& ground, const std::vector<Host>& hosts, const Json& found,
                    std::vector<Check>& checks) {
    const Json& facts = found.at("hosts");
    std::vector<std::string> names;
    for (std::size_t i = 0; i < facts.size(); ++i) {
      const std::string host = facts[i].value("host", "");
      if (ground.named) {
        names.push_back(i < hosts.size() ? hosts[i].name : host);
      } else {
        names.push_back("rank " + std::to_string(i));
      }
      // On a single machine both ranks would say the same.
      if (!ground.named && i > 0) continue;
      const auto judged = judge_host(names.back(), facts[i], facts[0]);
      checks.insert(checks.end(), judged.begin(), judged.end());
    }
    if (ground.slurm && ground.starter == Starter::srun) {
      checks.push_back(
          {"srun and PMIx", Mark::good, "Open MPI's ranks find each other", names.front(), ""});
    }
    const auto pairs = judge_pairs(found.at("pairs"), names);
    checks.insert(checks.end(), pairs.begin(), pairs.end());
  }

  static Check failed_start(const Ground& ground, const JobEnd& end, const std::string& output) {
    Check check{"start", Mark::bad, status_text("the probe", end.status), ground.hosts.front().name,
                "see the messages above; try it with fewer hosts"};
    if (end.failure) check.text = end.failure->text();
    if (ground.starter != Starter::srun) return check;
    check.name = "srun and PMIx";
    if (end.status == 0 && !output.empty()) {
      check.text = "every rank takes itself for the only one";
      check.cure = "this Open MPI cannot use Slurm's PMIx: use --starter mpirun";
    } else {
      check.text = "srun --mpi=pmix was cancelled at the start";
      check.cure =
          "a node's PMIx plugin could not start (its slurmd.log says why). \"File exists\": two "
          "slurmd share a machine, or a dead job left spmix_appdir_* in TmpFS: give each node a "
          "TmpFS of its own and empty it. Until then: shoal run --starter mpirun";
    }
    return check;
  }

  HostFlags flags_;
  double seconds_ = 5;
  std::string json_;
};

}  // namespace

std::unique_ptr<Command> make_doctor_command() { return std::make_unique<DoctorCommand>(); }

}  // namespace shoal::launch
