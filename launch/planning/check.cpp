#include "planning/check.hpp"

#include <algorithm>
#include <cstdio>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <shoal/bench/bench.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/topology.hpp>

#include "profile_file.hpp"
#include "table_row.hpp"

namespace shoal::launch {
namespace {

using CheckJson = nlohmann::ordered_json;

void print_check_row(const bench::PlanCheck::Row& row) {
  std::string remark = row.fitted ? " fit" : "";
  if (row.otherwise) remark += fmt::format(" otherwise: {:.2f}", row.apart);
  constexpr double wide = 1.25;
  if (row.scatter > wide) remark += fmt::format(" tries apart: {:.2f}", row.scatter);
  fmt::print("{:<10} {:<44} {:>9} {:>9} {:>+6.1f} %{}\n", row.kind, row.what,
             seconds_text(row.measured), seconds_text(row.predicted), 100 * row.error(), remark);
  std::fflush(stdout);
}

void print_summary(const bench::PlanCheck& check) {
  const auto fitted = std::count_if(check.rows.begin(), check.rows.end(),
                                    [](const auto& row) { return row.fitted; });
  fmt::print("\n{} configurations, of which the profile holds {} (fit). Error: median {:.1f} %, of "
             "the\nothers {:.1f} %; the worst {:.1f} %.\n",
             check.rows.size(), fitted, 100 * check.all.median, 100 * check.all.median_unfitted,
             100 * check.all.worst);
  const std::size_t otherwise = check.rows.size() - check.alike.rows;
  if (otherwise > 0) {
    fmt::print(
        "\nDuring {} of them the machine changed: a probe after them took so many times as long "
        "or as\nshort as before. Without them: median {:.1f} %, of those that are no fit {:.1f} %; "
        "the worst\n{:.1f} %.\n",
        otherwise, 100 * check.alike.median, 100 * check.alike.median_unfitted,
        100 * check.alike.worst);
  }
  fmt::print(
      "By the profile as it was tuned, whatever the machine has become since: median {:.1f} %, the "
      "worst\n{:.1f} %.\n",
      100 * check.as_tuned.median, 100 * check.as_tuned.worst);
  for (const bench::PlanCheck::Choice& choice : check.choices) {
    fmt::print("{:<12} the plan takes {}, the quickest is {}: {:.1f} % slower\n", choice.model,
               choice.planned, choice.best,
               100 * (choice.planned_seconds / choice.best_seconds - 1));
  }
}

CheckJson json_of_check(const bench::PlanCheck& check, const planning::Cluster& cluster) {
  CheckJson json;
  json["profile"] = cluster.note;
  for (const bench::PlanCheck::Row& row : check.rows) {
    json["rows"].push_back({{"kind", row.kind},
                            {"what", row.what},
                            {"fitted", row.fitted},
                            {"measured_seconds", row.measured},
                            {"predicted_seconds", row.predicted},
                            {"predicted_as_tuned_seconds", row.as_tuned},
                            {"error", row.error()},
                            {"apart", row.apart},
                            {"otherwise", row.otherwise},
                            {"tries", row.tries},
                            {"scatter", row.scatter}});
  }
  for (const bench::PlanCheck::Choice& choice : check.choices) {
    json["choices"].push_back({{"model", choice.model},
                               {"planned", choice.planned},
                               {"planned_seconds", choice.planned_seconds},
                               {"quickest", choice.best},
                               {"quickest_seconds", choice.best_seconds}});
  }
  json["median_error"] = check.all.median;
  json["median_error_unfitted"] = check.all.median_unfitted;
  json["worst_error"] = check.all.worst;
  json["as_tuned"] = {{"median_error", check.as_tuned.median},
                      {"worst_error", check.as_tuned.worst}};
  json["alike"] = {{"rows", check.alike.rows},
                   {"median_error", check.alike.median},
                   {"median_error_unfitted", check.alike.median_unfitted},
                   {"worst_error", check.alike.worst}};
  return json;
}

}  // namespace

void add_check_flags(CLI::App& app, CheckFlags& flags) {
  const char* group = "Against this machine (run it with mpirun or shoal run)";
  app.add_flag("--check", flags.wanted,
               "measure collectives, layers and training steps on these ranks, and compare them with "
               "what a profile by shoal tune predicts; --cluster names another profile")
      ->group(group);
  app.add_option("--configs", flags.configs,
                 "models of the check: nano, small, gpt2, gpt2-512; comma separated "
                 "(nano,small,gpt2)")
      ->type_name("LIST")
      ->delimiter(',')
      ->group(group);
  app.add_flag("--steps-only", flags.steps_only, "check training steps only")->group(group);
}

int run_check(Runtime& runtime, const CheckFlags& flags, const PlanFlags& plan, bool explain,
              const JsonWish& json) {
  const Communicator& world = runtime.world();
  bench::PlanCheckOptions options;
  if (plan.cluster.empty()) {
    const std::optional<planning::Cluster> tuned = tuned_profile(world);
    if (!tuned) {
      throw UsageError("plan --check", "there is no profile of this machine",
                       "make one with shoal tune, or name one with --cluster");
    }
    options.cluster = *tuned;
  } else {
    options.cluster = cluster_of_rank_0(world, plan.cluster);
  }
  options.models = flags.configs;
  if (!plan.type.empty()) options.types = {plan.type};
  options.parts = !flags.steps_only;
  const bool speaks = !json.instead_of_tables();
  options.explain = explain && speaks;
  if (speaks) options.progress = print_check_row;
  const bench::PlanCheck check = bench::check_plan(world, options);
  if (world.rank() != 0) return 0;
  put_json(json, json_of_check(check, options.cluster));
  if (speaks) print_summary(check);
  return 0;
}

}  // namespace shoal::launch
