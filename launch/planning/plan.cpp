// shoal plan
#include <cstdio>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <shoal/planning/search.hpp>
#include <shoal/runtime/error.hpp>

#include "command.hpp"
#include "planning/check.hpp"
#include "planning/flags.hpp"
#include "planning/json_output.hpp"
#include "table_row.hpp"

namespace shoal::launch {
namespace {

using planning::Estimate;
using planning::Found;
using planning::Improvement;
using Json = nlohmann::ordered_json;

constexpr const char* about_plan =
    "Finds the best layout of a model over a cluster, before there is one.\n"
    "\n"
    "  shoal plan --model gpt-3-175b --cluster a100-ib --nodes 128 --global-batch 1536\n"
    "  shoal plan --model llama-2-7b --cluster rpi4 --decode --weights q40\n"
    "  shoal plan --list\n"
    "  shoal run -n 2 -- plan --check          against this machine (shoal tune)\n"
    "\n"
    "Predicts time and memory of every division of the work by the formulae in docs/planning.md, "
    "from profiles whose figures carry their sources.";

Json json_of(const Estimate& estimate) {
  const planning::Layout& layout = estimate.layout;
  Json json;
  json["layout"] = {{"dp", layout.dp},
                    {"tp", layout.tp},
                    {"pp", layout.pp},
                    {"ep", layout.ep},
                    {"micro_batch", layout.micro_batch},
                    {"interleave", layout.interleave},
                    {"zero", layout.zero},
                    {"recompute", layout.recompute == planning::Recompute::none        ? "none"
                                  : layout.recompute == planning::Recompute::selective ? "selective"
                                                                                       : "full"},
                    {"sequence_parallel", layout.sequence_parallel}};
  json["ranks"] = layout.ranks();
  json["fits"] = estimate.fits;
  json["seconds"] = estimate.seconds;
  json["tokens_per_second"] = estimate.tokens_per_second;
  json["model_flops"] = estimate.flops;
  json["peak_share"] = estimate.peak_share;
  for (const planning::Cause& cause : estimate.causes) {
    json["seconds_by_cause"][cause.name] = cause.seconds;
  }
  const planning::MemoryNeed& memory = estimate.memory;
  json["memory_bytes"] = {{"weights", memory.weights},     {"gradients", memory.gradients},
                          {"optimizer", memory.optimizer}, {"activations", memory.activations},
                          {"cache", memory.cache},         {"workspace", memory.workspace},
                          {"total", memory.total()}};
  return json;
}

void print_estimate(const Estimate& estimate, int place) {
  constexpr std::size_t indent = 10;
  fmt::print("\n{}. {}\n", place, estimate.layout.text());
  print_row("  step",
            fmt::format("{}, {} tokens/s on {} devices, {:.1f} % of their peak",
                        seconds_text(estimate.seconds), count_text(estimate.tokens_per_second),
                        estimate.layout.ranks(), 100 * estimate.peak_share),
            indent);
  std::string text;
  for (const planning::Cause& cause : estimate.causes) {
    text += fmt::format("{}{} {} ({:.1f} %)", text.empty() ? "" : ", ", cause.name,
                        seconds_text(cause.seconds), 100 * cause.seconds / estimate.seconds);
  }
  print_row("  time", text, indent);
  const planning::MemoryNeed& memory = estimate.memory;
  text = bytes_figure(memory.total()) + " a device:";
  const char* separator = " ";
  const auto add = [&](const char* name, double bytes) {
    if (bytes <= 0) return;
    text += fmt::format("{}{} {}", separator, name, bytes_figure(bytes));
    separator = ", ";
  };
  add("weights", memory.weights);
  add("gradients", memory.gradients);
  add("optimizer", memory.optimizer);
  add("activations", memory.activations);
  add("cache", memory.cache);
  add("work space", memory.workspace);
  print_row("  memory", text, indent);
}

class PlanCommand : public Command {
 public:
  void add_to(CLI::App& program) override {
    app_ = program.add_subcommand("plan", about_plan);
    add_workload_flags(*app_, flags_);
    add_cluster_flags(*app_, flags_);
    add_layout_flags(*app_, flags_);
    for (const char* needed : {"--model", "--cluster"}) {
      app_->get_option(needed)->required(false);
    }
    app_->add_option("--top", top_, "layouts to show")
        ->check(CLI::Range(1, 100))
        ->type_name("N")
        ->capture_default_str();
    app_->add_flag("--explain", explain_, "walk through the arithmetic of the best one");
    app_->add_flag("--list", list_, "names of all profiles");
    add_json_option(*app_, json_);
#ifdef SHOAL_HAS_BENCH
    add_check_flags(*app_, check_);
#endif
  }

  bool is_local() const noexcept override { return !check_.wanted; }

  int run([[maybe_unused]] Runtime& runtime) override {
#ifdef SHOAL_HAS_BENCH
    return run_check(runtime, check_, flags_, explain_, json_);
#else
    return 1;
#endif
  }

  int run_alone() override {
    if (list_) return list();
    if (flags_.model.empty() || flags_.cluster.empty()) {
      throw UsageError("plan", "it needs --model and --cluster",
                       "shoal plan --list names the profiles");
    }
    const planning::Model model = planning::find_model(flags_.model);
    const planning::Cluster cluster = flags_.make_cluster();
    const planning::Software software = flags_.make_software(cluster);
    const planning::Workload workload = flags_.make_workload(model, cluster);
    const planning::Fixed fixed = flags_.make_fixed();
    const Found found =
        planning::search(model, software, cluster, workload, fixed, static_cast<std::size_t>(top_));
    if (found.best.empty()) return none(model, cluster, software, workload, fixed, found);
    const std::vector<Improvement> helps =
        planning::improvements(model, software, cluster, workload, fixed, found);
    if (json_.asked) print_json(model, cluster, software, workload, found, helps);
    if (!json_.instead_of_tables()) {
      print_tables(model, cluster, software, workload, found, helps);
    }
    return 0;
  }

 private:
  int list() const {
    if (json_.asked) {
      Json all;
      for (const char* kind : {"models", "clusters", "devices", "software"}) {
        all[kind] = planning::profile_names(kind);
      }
      put_json(json_, all);
      if (json_.instead_of_tables()) return 0;
    }
    for (const char* kind : {"models", "clusters", "devices", "software"}) {
      std::string names;
      for (const std::string& each : planning::profile_names(kind)) {
        names += (names.empty() ? "" : ", ") + each;
      }
      print_row(kind, names, 10);
    }
    return 0;
  }

  int none(const planning::Model& model, const planning::Cluster& cluster,
           const planning::Software& software, const planning::Workload& workload,
           const planning::Fixed& fixed, const Found& found) const {
    if (found.nearest) {
      const Estimate& near = *found.nearest;
      planning::Cluster more = cluster;
      std::string cure = "use devices with more memory, a smaller batch or context";
      while (more.devices() < (1 << 16)) {
        more.nodes *= 2;
        if (planning::search(model, software, more, workload, fixed, 1).best.empty()) continue;
        cure = fmt::format("use more nodes: {} have room", more.nodes);
        break;
      }
      throw UsageError(
          "plan",
          fmt::format(
              "{} does not fit: the layout that lacks the least, {}, needs {} a device of {}",
              model.name, near.layout.text(), bytes_figure(near.memory.total()),
              bytes_figure(planning::usable_memory * cluster.device.memory_bytes)),
          cure);
    }
    std::string why = "no division of the batch, the heads and the layers does";
    if (fixed.dp > 0 && fixed.tp > 0) {
      planning::Layout layout;
      layout.dp = fixed.dp;
      layout.tp = fixed.tp;
      layout.pp = std::max(fixed.pp, 1);
      layout.ep = std::max(fixed.ep, 1);
      layout.micro_batch = std::max<Index>(fixed.micro_batch, 1);
      layout.interleave = std::max(fixed.interleave, 1);
      layout.zero = std::max(fixed.zero, 0);
      layout.recompute = fixed.recompute.value_or(planning::Recompute::none);
      why =
          planning::estimate(model, software, planning::Prices(cluster), workload, layout).why_not;
    }
    throw UsageError(
        "plan", fmt::format("no layout of {} is possible on {}: {}", model.name, cluster.name, why),
        "free some of the layout, or change the batch");
  }

  static std::string device_text(const planning::Cluster& cluster,
                                 const planning::Workload& workload) {
    std::string type;
    const double rate = cluster.device.rate(workload.type, &type);
    return fmt::format("{} x {}: {}FLOP/s {}, {} at {}/s each", cluster.devices(),
                       cluster.device.name, count_text(rate), type,
                       bytes_figure(cluster.device.memory_bytes),
                       bytes_figure(cluster.device.memory_bandwidth));
  }

  void print_tables(const planning::Model& model, const planning::Cluster& cluster,
                    const planning::Software& software, const planning::Workload& workload,
                    const Found& found, const std::vector<Improvement>& helps) const {
    constexpr std::size_t indent = 10;
    print_row(
        "model",
        fmt::format(
            "{}, {} parameters{}", model.name, count_text(model.parameters()),
            model.experts > 0 ? ", " + count_text(model.active_parameters()) + " active" : ""),
        indent);
    print_row("work", describe(workload), indent);
    print_row(
        "cluster",
        fmt::format("{}, {} node{}", cluster.name, cluster.nodes, cluster.nodes == 1 ? "" : "s"),
        indent);
    print_row("", device_text(cluster, workload), indent);
    for (const planning::Level& level : cluster.levels) {
      print_row("",
                fmt::format(
                    "{}: {}/s, {}{}", level.name, bytes_figure(level.bandwidth),
                    seconds_text(level.latency),
                    level.shared_by > 1 ? fmt::format(", {} devices a link", level.shared_by) : ""),
                indent);
    }
    print_row("software", software.name, indent);
    fmt::print("\n{} layouts are possible, {} do not fit in memory. The best:\n", found.tried,
               found.too_large);
    int place = 0;
    for (const Estimate& each : found.best) print_estimate(each, ++place);
    if (!helps.empty()) {
      fmt::print("\nWhat would help most\n");
      for (std::size_t i = 0; i < helps.size() && i < 5; ++i) {
        if (helps[i].speedup < 1.005) break;
        fmt::print("  {:<44} {:>6.2f} times as fast\n", helps[i].change.substr(0, 44),
                   helps[i].speedup);
      }
      if (helps.front().speedup < 1.005) fmt::print("  nothing by itself\n");
    }
    if (explain_) print_explanation(model, cluster, software, workload, found.best.front());
  }

  static void print_explanation(const planning::Model& model, const planning::Cluster& cluster,
                                const planning::Software& software,
                                const planning::Workload& workload, const Estimate& best) {
    const planning::Prices prices(cluster);
    const Estimate told = planning::estimate(model, software, prices, workload, best.layout, true);
    fmt::print("\nThe arithmetic of {}\n", best.layout.text());
    for (const std::string& line : told.steps) fmt::print("{}\n", line);
    fmt::print("  the model asks for {}FLOP: {:.1f} % of the peak of {} devices\n",
               count_text(told.flops), 100 * told.peak_share, best.layout.ranks());
    fmt::print(
        "\nFigures of {} and their sources (A read at the source, B two agree,\nC one "
        "secondary source, D derived, E assumed)\n",
        cluster.device.name);
    const auto tell = [](const std::string& name, const planning::Figure& figure) {
      print_row("  " + name,
                fmt::format("{:.4g} ({}) {}", figure.value, figure.confidence, figure.source), 24);
    };
    const planning::Device& device = cluster.device;
    for (const auto& [type, peak] : device.peak) tell("FLOP/s " + type, peak);
    tell("share, products", device.matrix_efficiency);
    tell("memory", device.memory_bytes);
    tell("memory bytes/s", device.memory_bandwidth);
    tell("share, memory", device.memory_efficiency);
    tell("launch", device.launch_seconds);
    for (const planning::Level& level : cluster.levels) {
      print_row("  " + level.name, "", 24);
      tell("  latency", level.latency);
      tell("  bytes/s", level.bandwidth);
      tell("  share", level.efficiency);
      tell("  next message", level.overhead);
    }
  }

  void print_json(const planning::Model& model, const planning::Cluster& cluster,
                         const planning::Software& software, const planning::Workload& workload,
                         const Found& found, const std::vector<Improvement>& helps) const {
    Json json;
    json["model"] = model.name;
    json["parameters"] = model.parameters();
    json["active_parameters"] = model.active_parameters();
    json["cluster"] = cluster.name;
    json["nodes"] = cluster.nodes;
    json["devices"] = cluster.devices();
    json["software"] = software.name;
    json["workload"] = {{"kind", workload.kind == planning::Workload::Kind::train     ? "train"
                                 : workload.kind == planning::Workload::Kind::prefill ? "prefill"
                                                                                      : "decode"},
                        {"batch", workload.batch},
                        {"sequence", workload.sequence},
                        {"dtype", workload.type},
                        {"weights", workload.weights.empty() ? workload.type : workload.weights}};
    json["layouts_possible"] = found.tried;
    json["layouts_too_large"] = found.too_large;
    for (const Estimate& each : found.best) json["best"].push_back(json_of(each));
    for (const Improvement& help : helps) {
      json["improvements"].push_back({{"change", help.change},
                                      {"seconds", help.seconds},
                                      {"speedup", help.speedup},
                                      {"layout", help.layout.text()}});
    }
    json["figures"] = figures_json(cluster);
    put_json(json_, json);
  }

  PlanFlags flags_;
  CheckFlags check_;
  int top_ = 3;
  bool explain_ = false, list_ = false;
  JsonWish json_;
};

}  // namespace

std::unique_ptr<Command> make_plan_command() { return std::make_unique<PlanCommand>(); }

}  // namespace shoal::launch
