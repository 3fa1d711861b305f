// shoal simulate
#include <chrono>
#include <fstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <shoal/planning/simulate.hpp>
#include <shoal/runtime/error.hpp>

#include "command.hpp"
#include "planning/flags.hpp"
#include "planning/json_output.hpp"
#include "table_row.hpp"

namespace shoal::launch {
namespace {

constexpr const char* about_simulate =
    "Simulates one step, event by event.\n"
    "\n"
    "  shoal simulate --model gpt-3-175b --cluster a100-ib --nodes 48 --mesh tp=8,dp=48 \\\n"
    "      --global-batch 1536 --slow-rank 17=1.5 --trace step.json\n"
    "\n"
    "Every rank computes by itself, every collective is the messages of its algorithm, every link "
    "carries one after the other: what shoal plan's formulae leave out. Takes the best layout of "
    "those that can be simulated, unless one is given.";

std::vector<std::pair<int, double>> parse_factors(const std::vector<std::string>& words,
                                                  const char* flag) {
  std::vector<std::pair<int, double>> factors;
  for (const std::string& word : words) {
    int rank = 0;
    double factor = 0;
    char rest = 0;
    if (std::sscanf(word.c_str(), "%d=%lf%c", &rank, &factor, &rest) != 2) {
      throw UsageError(std::string(flag) + " " + word, "it is no rank and factor",
                       "write it like 3=1.5");
    }
    factors.emplace_back(rank, factor);
  }
  return factors;
}

class SimulateCommand : public LocalCommand {
 public:
  void add_to(CLI::App& program) override {
    app_ = program.add_subcommand("simulate", about_simulate);
    add_workload_flags(*app_, flags_);
    add_cluster_flags(*app_, flags_);
    add_layout_flags(*app_, flags_);
    const char* group = "Disturbances";
    app_->add_option("--slow-rank", slow_ranks_, "a rank that computes so many times as long")
        ->type_name("RANK=X")
        ->group(group);
    app_->add_option("--slow-link", slow_links_, "a rank whose links take so many times as long")
        ->type_name("RANK=X")
        ->group(group);
    app_->add_option("--jitter", disturbance_.jitter,
                     "of each operation's time, as a share of it; operations only get longer")
        ->check(CLI::Range(0.0, 10.0))
        ->type_name("X")
        ->group(group);
    app_->add_option("--seed", disturbance_.seed, "of the jitter (1)")
        ->type_name("N")
        ->group(group);
    app_->add_option("--trace", trace_, "write what ranks did, for Chrome or Perfetto")
        ->type_name("FILE");
    app_->add_option("--trace-ranks", traced_, "the first so many of them")
        ->check(CLI::Range(1, 1 << 17))
        ->type_name("N")
        ->capture_default_str();
    add_json_option(*app_, json_);
  }

  int run_alone() override {
    const planning::Model model = planning::find_model(flags_.model);
    const planning::Cluster cluster = flags_.make_cluster();
    const planning::Software software = flags_.make_software(cluster);
    const planning::Workload workload = flags_.make_workload(model, cluster);
    disturbance_.slow_ranks = parse_factors(slow_ranks_, "--slow-rank");
    disturbance_.slow_links = parse_factors(slow_links_, "--slow-link");
    const planning::Estimate plan = choose(model, cluster, software, workload);
    std::ofstream file;
    if (!trace_.empty()) {
      // A simulation should not have been for nothing.
      file.open(trace_, std::ios::binary);
      if (!file)
        throw UsageError("--trace " + trace_, "it cannot be written", "choose another file");
    }
    const planning::Prices prices(cluster);
    const auto start = std::chrono::steady_clock::now();
    const planning::Simulated made = planning::simulate(
        model, software, prices, workload, plan.layout, disturbance_, trace_.empty() ? 0 : traced_);
    const double took =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (!trace_.empty()) {
      file << planning::chrome_trace(made.spans);
      file.close();
      if (!file) throw Error("--trace " + trace_, "it could not be written", "is the disk full?");
    }
    const double off = made.seconds / plan.seconds - 1;
    if (json_.asked) {
      const nlohmann::ordered_json json = {{"model", model.name},
                                           {"cluster", cluster.name},
                                           {"layout", plan.layout.text()},
                                           {"ranks", plan.layout.ranks()},
                                           {"seconds", made.seconds},
                                           {"planned_seconds", plan.seconds},
                                           {"computing_seconds", made.computing},
                                           {"messages", made.messages},
                                           {"events", made.events},
                                           {"took_seconds", took}};
      put_json(json_, json);
      if (json_.instead_of_tables()) return 0;
    }
    constexpr std::size_t indent = 12;
    print_row("model", fmt::format("{}: {}", model.name, describe(workload)), indent);
    print_row("cluster", fmt::format("{}, software {}", cluster.name, software.name), indent);
    print_row("layout", fmt::format("{}, {} ranks", plan.layout.text(), plan.layout.ranks()),
              indent);
    print_row("step",
              fmt::format("{}; planned {} ({:+.1f} %)", seconds_text(made.seconds),
                          seconds_text(plan.seconds), 100 * off),
              indent);
    print_row("computing",
              fmt::format("{} of the rank that computes longest", seconds_text(made.computing)),
              indent);
    print_row("simulated",
              fmt::format("{} messages, {} events in {:.1f} s",
                          count_text(static_cast<double>(made.messages)),
                          count_text(static_cast<double>(made.events)), took),
              indent);
    if (!trace_.empty())
      print_row("trace", trace_ + ": chrome://tracing or ui.perfetto.dev", indent);
    return 0;
  }

 private:
  planning::Estimate choose(const planning::Model& model, const planning::Cluster& cluster,
                            const planning::Software& software,
                            const planning::Workload& workload) const {
    planning::Fixed fixed = flags_.make_fixed();
    if (fixed.interleave == 0) fixed.interleave = 1;
    if (workload.kind == planning::Workload::Kind::decode && fixed.pp == 0) fixed.pp = 1;
    planning::Software simple = software;
    if (fixed.zero < 0) simple.most_zero = std::min(simple.most_zero, 1);
    const planning::Found found = planning::search(model, simple, cluster, workload, fixed, 1);
    if (found.best.empty()) {
      throw UsageError("simulate", "no layout that can be simulated is possible, or fits",
                       "shoal plan with the same flags says why");
    }
    return found.best.front();
  }

  PlanFlags flags_;
  planning::Disturbance disturbance_;
  std::vector<std::string> slow_ranks_, slow_links_;
  std::string trace_;
  int traced_ = 16;
  JsonWish json_;
};

}  // namespace

std::unique_ptr<Command> make_simulate_command() { return std::make_unique<SimulateCommand>(); }

}  // namespace shoal::launch
