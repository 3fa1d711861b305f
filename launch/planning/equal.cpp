// shoal equal
#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <shoal/planning/equal.hpp>
#include <shoal/runtime/error.hpp>

#include "command.hpp"
#include "planning/flags.hpp"
#include "planning/json_output.hpp"
#include "report/equal_svg.hpp"
#include "table_row.hpp"

namespace shoal::launch {
namespace {

using planning::Measure;
using planning::Point;
using planning::Side;
using EqualJson = nlohmann::ordered_json;

constexpr const char* about_equal =
    "How many modest nodes make one powerful device.\n"
    "\n"
    "  shoal equal --device gb200-nvl72 --node ascend-910c --model deepseek-r1\n"
    "  shoal equal --device h100-sxm --node rpi5 --model llama-2-7b\n"
    "\n"
    "Counts the nodes that equal a device, or a whole cluster, in peak, memory, bandwidth, "
    "training, "
    "reading prompts and generating, by number format; shows where more nodes stop helping and "
    "why; "
    "with power and price where the profiles have them.";

std::optional<double> total_of(const planning::Cluster& cluster,
                               const std::optional<planning::Figure>& whole,
                               const std::optional<planning::Figure>& each, double nodes) {
  if (whole) return *whole * nodes / cluster.nodes;
  if (each) return *each * nodes * cluster.devices_per_node;
  return std::nullopt;
}

std::string needed_text(const Measure& measure) {
  if (measure.device <= 0) return "(device: no)";
  if (!measure.needed) return "never";
  const double nodes = *measure.needed;
  if (nodes > 99'999) return count_text(nodes);
  return measure.is_workload() ? fmt::format("{:.0f}", nodes)
                               : fmt::format("{:.{}f}", nodes, nodes < 100 ? 1 : 0);
}

std::string value_text(double value) { return value > 0 ? count_text(value) : "-"; }

EqualJson point_json(const Point& point) {
  EqualJson json = {{"nodes", point.nodes}, {"tokens_per_second", point.value}};
  if (point.value <= 0) return json;
  json["batch"] = point.batch;
  json["layout"] = point.estimate.layout.text();
  json["step_seconds"] = point.estimate.seconds;
  json["peak_share"] = point.estimate.peak_share;
  for (const planning::Cause& cause : point.estimate.causes) {
    json["seconds_by_cause"][cause.name] = cause.seconds;
  }
  return json;
}

class EqualCommand : public LocalCommand {
 public:
  void add_to(CLI::App& program) override {
    app_ = program.add_subcommand("equal", about_equal);
    app_->add_option("--device", device_, "what is to be equalled: a device's or cluster's profile")
        ->required()
        ->type_name("D");
    app_->add_option("--node", node_, "what is counted: devices, or nodes of a cluster")
        ->required()
        ->type_name("N");
    app_->add_option("--model", model_, "name of a model's profile, or a .json file")
        ->required()
        ->type_name("M");
    const auto whole = [&](const char* name, Index& value, const char* text) {
      app_->add_option(name, value, text)
          ->check(CLI::Range(Index{1}, Index{1} << 32))
          ->type_name("N");
    };
    whole("--global-batch", terms_.global_batch, "sequences of a training step (512)");
    whole("--training-tokens", terms_.training_tokens, "of each (the model's, 4096 at most)");
    whole("--prompt", terms_.prompt, "tokens of a prompt (2048)");
    whole("--context", terms_.context, "tokens that are there when generating (4096)");
    whole("--batch", terms_.batch, "sequences generated at once (as many as --token-ms allows)");
    app_->add_option("--token-ms", token_ms_, "a token may take, where the batch is free")
        ->check(CLI::Range(0.001, 1e6))
        ->type_name("MS")
        ->capture_default_str();
    app_->add_option("--prompt-ms", prompt_ms_, "reading may take")
        ->check(CLI::Range(0.001, 1e7))
        ->type_name("MS")
        ->capture_default_str();
    app_->add_option("--most", terms_.most_nodes, "nodes to try (the profile's, 512 at least)")
        ->check(CLI::Range(1, 1 << 16))
        ->type_name("N");
    add_json_option(*app_, json_);
    app_->add_option("--svg", svg_, "draw what nodes reach of the device (needs gnuplot)")
        ->type_name("FILE");
  }

  int run_alone() override {
    terms_.token_seconds = token_ms_ * 1e-3;
    terms_.prompt_seconds = prompt_ms_ * 1e-3;
    Side device = planning::find_side(device_);
    // A single device has nobody to talk to.
    if (device.cluster.name != device.name && !device_.ends_with(".json")) {
      device.cluster.nodes = 1;
      device.cluster.watts.reset();
      device.cluster.dollars.reset();
    }
    const Side nodes = planning::find_side(node_);
    const planning::Model model = planning::find_model(model_);
    const std::vector<Measure> all = planning::equal(device, nodes, model, terms_);
    const EqualJson json = as_json(device, nodes, model, all);
    put_json(json_, json);
    if (!svg_.empty()) report::write_equal_svg(json.dump(), svg_);
    if (!json_.instead_of_tables()) print_tables(device, nodes, model, all);
    return 0;
  }

 private:
  static std::string power_text(const planning::Cluster& cluster, double count) {
    std::string text;
    if (const auto watts = total_of(cluster, cluster.watts, cluster.device.watts, count)) {
      text += count_text(*watts) + "W";
    }
    if (const auto price = total_of(cluster, cluster.dollars, cluster.device.dollars, count)) {
      text += fmt::format("{}{}$", text.empty() ? "" : ", ", count_text(*price));
    }
    return text;
  }

  void print_tables(const Side& device, const Side& nodes, const planning::Model& model,
                    const std::vector<Measure>& all) const {
    constexpr std::size_t indent = 10;
    const int count = nodes.cluster.nodes;
    print_row("device",
              fmt::format("{}, {} x {}", device.name, device.cluster.devices(),
                          device.cluster.device.name),
              indent);
    print_row("", power_text(device.cluster, device.cluster.nodes), indent);
    print_row("node",
              fmt::format("{}, {} of which are {}; software {}", nodes.name, count,
                          nodes.cluster.name, nodes.software.name),
              indent);
    print_row("", power_text(nodes.cluster, 1) + " each", indent);
    print_row("model", fmt::format("{}, {} parameters", model.name, count_text(model.parameters())),
              indent);
    print_row(
        "terms",
        fmt::format("steps of {} sequences; prompts of {} within {}; generating with {} tokens {}",
                    terms_.global_batch, terms_.prompt, seconds_text(terms_.prompt_seconds),
                    terms_.context,
                    terms_.batch > 0 ? fmt::format("for {} at once", terms_.batch)
                                     : "within " + seconds_text(terms_.token_seconds) + " a token"),
        indent);
    const auto watts = [](const planning::Cluster& c) {
      return total_of(c, c.watts, c.device.watts, c.nodes);
    };
    const auto of_device = watts(device.cluster), of_nodes = watts(nodes.cluster);
    const double power = of_device && of_nodes ? *of_nodes / *of_device : 0;
    fmt::print("\n{:<16}{:>9}{:>12}{:>8}{:>10}{:>16}{:>9}\n", "measure", "device",
               fmt::format("{} nodes", count), "ratio", "per watt", "nodes to equal", "power");
    for (const Measure& measure : all) print_measure(measure, nodes, power);
    print_words(device, nodes, all, count, power);
    for (const Measure& measure : all) {
      if (measure.is_workload()) print_curve(measure);
    }
  }

  // `power`: of all nodes, in that of the device.
  static void print_measure(const Measure& measure, const Side& nodes, double power_ratio) {
    std::string ratio = "-", per_watt = "-";
    if (measure.device > 0 && measure.nodes_value > 0) {
      const double value = measure.nodes_value / measure.device;
      const auto text = [](double x) { return fmt::format("{:.{}f}", x, x < 0.095 ? 3 : 2); };
      ratio = text(value);
      if (power_ratio > 0) per_watt = text(value / power_ratio);
    }
    std::string power;
    if (measure.needed) {
      const auto watts =
          total_of(nodes.cluster, nodes.cluster.watts, nodes.cluster.device.watts, *measure.needed);
      if (watts) power = count_text(*watts) + "W";
    }
    fmt::print("{:<16}{:>9}{:>12}{:>8}{:>10}{:>16}{:>9}\n",
               measure.name + (measure.type.empty() ? "" : " " + measure.type),
               value_text(measure.device), value_text(measure.nodes_value), ratio, per_watt,
               needed_text(measure), power);
  }

  // Who wins with what, plainly.
  static void print_words(const Side& device, const Side& nodes, const std::vector<Measure>& all,
                          int count, double power) {
    std::string wins, loses, lacks;
    const auto add = [](std::string& list, const std::string& name) {
      list += (list.empty() ? "" : ", ") + name;
    };
    for (const Measure& measure : all) {
      if (!measure.is_workload()) continue;
      const std::string name = measure.name + " " + measure.type;
      if (measure.device <= 0 && measure.nodes_value <= 0) {
        add(lacks, name + " (neither has the memory)");
      } else if (measure.device <= 0) {
        add(wins, name + " (the device lacks the memory)");
      } else if (measure.nodes_value <= 0) {
        add(loses, name + " (they lack the memory)");
      } else {
        add(measure.nodes_value >= measure.device ? wins : loses, name);
      }
    }
    fmt::print("\n");
    const std::string who = fmt::format("{} x {}", count, nodes.name);
    if (!wins.empty()) print_row("win", who + " in " + wins, 10);
    if (power > 0) {
      double least = 1e300, most = 0;
      for (const Measure& measure : all) {
        if (!measure.is_workload() || measure.device <= 0 || measure.nodes_value <= 0) continue;
        const double each = measure.nodes_value / measure.device / power;
        least = std::min(least, each);
        most = std::max(most, each);
      }
      if (most > 0) {
        print_row("a watt",
                  fmt::format("they do {:.2g} to {:.2g} of what the device does", least, most), 10);
      }
    }
    if (!loses.empty()) print_row("lose", who + " against " + device.name + " in " + loses, 10);
    if (!lacks.empty()) print_row("none", lacks, 10);
    std::string stand_in;
    for (const char* type : {"fp8", "fp4"}) {
      const bool told = std::any_of(all.begin(), all.end(),
                                    [&](const Measure& each) { return each.type == type; });
      if (!told) continue;
      for (const Side* side : {&device, &nodes}) {
        std::string used;
        try {
          static_cast<void>(side->cluster.device.rate(type, &used));
        } catch (const Error&) {
          continue;
        }
        if (used != type) {
          stand_in += fmt::format("{}{} has no {}, it takes {}{}", stand_in.empty() ? "" : "; ",
                                  side->cluster.device.name, type, used,
                                  used == "int8" ? " (bf16 to train)" : "");
        }
      }
    }
    if (!stand_in.empty()) print_row("formats", stand_in, 10);
    print_row("assumed",
              fmt::format("large products reach {:.0f} % of the peak of {} and {:.0f} % of "
                          "that of {}; layouts as shoal plan finds them, experts met evenly "
                          "(docs/planning.md)",
                          100 * device.cluster.device.matrix_efficiency, device.cluster.device.name,
                          100 * nodes.cluster.device.matrix_efficiency, nodes.cluster.device.name),
              10);
  }

  static void print_curve(const Measure& measure) {
    constexpr int cells = 26;
    double most = measure.device;
    for (const Point& point : measure.curve) most = std::max(most, point.value);
    if (most <= 0) return;
    fmt::print("\n{} {}, tokens/s by nodes; | is the device\n", measure.name, measure.type);
    const int mark = static_cast<int>(cells * measure.device / most + 0.5);
    double before = 0;
    for (const Point& point : measure.curve) {
      // Halves between powers of two are for the search, but for the profile's own number.
      const bool power = (point.nodes & (point.nodes - 1)) == 0;
      if (!power && point.nodes != measure.curve.back().nodes) continue;
      std::string bar(static_cast<std::size_t>(cells * point.value / most + 0.5), '#');
      bar.resize(cells + 1, ' ');
      if (measure.device > 0 && bar[static_cast<std::size_t>(mark)] == ' ') {
        bar[static_cast<std::size_t>(mark)] = '|';
      }
      std::string note = "does not fit";
      if (point.value > 0) {
        note = point.estimate.causes.front().name.substr(0, 19) +
               fmt::format(" {:.0f} %",
                           100 * point.estimate.causes.front().seconds / point.estimate.seconds);
      }
      fmt::print("{:>7} {:>9} {} {}\n", point.nodes, value_text(point.value), bar, note);
      // Once more of the same is enough.
      if (point.value > 0 && point.value == before) break;
      before = point.value;
    }
    if (measure.stops > 0) {
      print_row("",
                fmt::format("from {} nodes on, twice as many give less than a tenth more: {}",
                            measure.stops, measure.why),
                8);
    } else {
      print_row("", "more nodes help as far as was tried", 8);
    }
  }

  EqualJson as_json(const Side& device, const Side& nodes, const planning::Model& model,
                    const std::vector<Measure>& all) const {
    EqualJson json;
    json["device"] = device.name;
    json["device_units"] = device.cluster.devices();
    json["node"] = nodes.name;
    json["nodes"] = nodes.cluster.nodes;
    json["cluster"] = nodes.cluster.name;
    json["model"] = model.name;
    if (const auto watts = total_of(device.cluster, device.cluster.watts,
                                    device.cluster.device.watts, device.cluster.nodes)) {
      json["device_watts"] = *watts;
    }
    if (const auto watts = total_of(nodes.cluster, nodes.cluster.watts, nodes.cluster.device.watts,
                                    nodes.cluster.nodes)) {
      json["nodes_watts"] = *watts;
    }
    json["terms"] = {{"global_batch", terms_.global_batch},
                     {"prompt", terms_.prompt},
                     {"context", terms_.context},
                     {"batch", terms_.batch},
                     {"token_seconds", terms_.token_seconds},
                     {"prompt_seconds", terms_.prompt_seconds}};
    for (const Measure& measure : all) {
      EqualJson entry = {{"measure", measure.name},
                         {"type", measure.type},
                         {"unit", measure.unit},
                         {"device", measure.device},
                         {"nodes", measure.nodes_value}};
      entry["needed"] = measure.needed ? EqualJson(*measure.needed) : EqualJson(nullptr);
      const double count = measure.needed.value_or(0);
      const auto watts =
          total_of(nodes.cluster, nodes.cluster.watts, nodes.cluster.device.watts, count);
      const auto price =
          total_of(nodes.cluster, nodes.cluster.dollars, nodes.cluster.device.dollars, count);
      if (measure.needed && watts) entry["watts"] = *watts;
      if (measure.needed && price) entry["dollars"] = *price;
      if (measure.is_workload()) {
        entry["device_point"] = point_json(measure.device_point);
        entry["stops_helping_at"] = measure.stops;
        entry["because"] = measure.why;
        for (const Point& point : measure.curve) entry["curve"].push_back(point_json(point));
      }
      json["measures"].push_back(std::move(entry));
    }
    json["figures"] = figures_json(device.cluster, device.cluster.name + ", ");
    json["figures"].update(figures_json(nodes.cluster, nodes.cluster.name + ", "));
    return json;
  }

  std::string device_, node_, model_;
  planning::Terms terms_;
  double token_ms_ = 50, prompt_ms_ = 2000;
  std::string svg_;
  JsonWish json_;
};

}  // namespace

std::unique_ptr<Command> make_equal_command() { return std::make_unique<EqualCommand>(); }

}  // namespace shoal::launch
