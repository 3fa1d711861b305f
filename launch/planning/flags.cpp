#include "planning/flags.hpp"

#include <cmath>
#include <sstream>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <shoal/runtime/error.hpp>

namespace shoal::launch {
namespace {

using planning::Workload;

constexpr Index largest_extent = Index{1} << 32;

std::string with_unit(double value, const char* const* units, int count, double step) {
  int unit = 0;
  while (value >= step * 0.9995 && unit + 1 < count) {
    value /= step;
    ++unit;
  }
  const int digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return fmt::format("{:.{}f} {}", value, digits, units[unit]);
}

}  // namespace

std::string seconds_text(double seconds) {
  const char* const units[] = {"ns", "us", "ms", "s"};
  if (seconds >= 7200) return fmt::format("{:.1f} h", seconds / 3600);
  return with_unit(seconds * 1e9, units, 4, 1000);
}

std::string bytes_figure(double bytes) {
  const char* const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  return with_unit(bytes, units, 6, 1000);
}

std::string count_text(double count) {
  const char* const units[] = {"", "k", "M", "G", "T", "P", "E"};
  std::string text = with_unit(count, units, 7, 1000);
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

void add_workload_flags(CLI::App& app, PlanFlags& flags) {
  app.add_option("--model", flags.model, "name of a model's profile, or a .json file")
      ->required()
      ->type_name("M");
  const char* group = "Workload";
  auto* train = app.add_flag("--train", flags.train, "a training step (unless another is given)");
  auto* prefill = app.add_flag("--prefill", flags.prefill, "read prompts");
  auto* decode = app.add_flag("--decode", flags.decode, "generate, a token a sequence and step");
  train->excludes(prefill)->excludes(decode)->group(group);
  prefill->excludes(decode)->group(group);
  decode->group(group);
  app.add_option("--global-batch", flags.global_batch,
                 "sequences of a training step, over all ranks (512)")
      ->check(CLI::Range(Index{1}, largest_extent))
      ->type_name("N")
      ->group(group);
  app.add_option("--batch", flags.batch, "sequences that are read or generated at once (1)")
      ->check(CLI::Range(Index{1}, largest_extent))
      ->type_name("N")
      ->group(group);
  app.add_option("--context", flags.context,
                 "tokens of a sequence: to train on (the model's, 8192 at most), to read (2048), "
                 "or there already (128)")
      ->check(CLI::Range(Index{1}, largest_extent))
      ->type_name("N")
      ->group(group);
  app.add_option("--dtype", flags.type,
                 "of products: fp32, bf16, fp8, int8, fp4 (bf16 if it has it)")
      ->check(CLI::IsMember({"fp32", "bf16", "fp8", "int8", "fp4"}))
      ->type_name("T")
      ->group(group);
  const auto add_wire = [&](const char* name, std::string& type, const char* text) {
    app.add_option(name, type, text)
        ->check(CLI::IsMember({"fp32", "bf16"}))
        ->type_name("T")
        ->group(group);
  };
  add_wire("--gradient-dtype", flags.gradient_type,
           "in which gradients travel between replicas: fp32, bf16 (as the software does it)");
  add_wire("--gather-dtype", flags.gather_type,
           "in which new weights travel with --zero: fp32, bf16 (as the software does it)");
  app.add_option("--weights", flags.weights,
                 "how inference stores weights: a type, or q40 (as --dtype)")
      ->check(CLI::IsMember({"fp32", "bf16", "fp8", "int8", "fp4", "q40"}))
      ->type_name("T")
      ->group(group);
}

void add_cluster_flags(CLI::App& app, PlanFlags& flags) {
  app.add_option("--cluster", flags.cluster, "name of a cluster's profile, or a .json file")
      ->required()
      ->type_name("C");
  app.add_option("--nodes", flags.nodes, "nodes of it (all that the profile has)")
      ->check(CLI::Range(1, 1 << 20))
      ->type_name("N");
  app.add_option("--software", flags.software, "what runs on it (what the cluster's profile says)")
      ->type_name("S");
}

void add_layout_flags(CLI::App& app, PlanFlags& flags) {
  const char* group = "Layout (what is left out is searched)";
  app.add_option("--mesh", flags.mesh, "extents to keep, like tp=8,pp=4; also dp, ep")
      ->type_name("A=N,..")
      ->group(group);
  app.add_option("--micro-batch", flags.micro_batch, "sequences of a replica at a time")
      ->check(CLI::Range(Index{1}, largest_extent))
      ->type_name("N")
      ->group(group);
  app.add_option("--interleave", flags.interleave, "chunks of layers of a stage")
      ->check(CLI::Range(1, 1 << 16))
      ->type_name("N")
      ->group(group);
  app.add_option("--zero", flags.zero, "what dp divides: 1 optimizer, 2 gradients, 3 weights")
      ->check(CLI::Range(0, 3))
      ->type_name("0..3")
      ->group(group);
  app.add_option("--recompute", flags.recompute, "of activations: none, selective, full")
      ->check(CLI::IsMember({"none", "selective", "full"}))
      ->type_name("KIND")
      ->group(group);
}

planning::Cluster PlanFlags::make_cluster() const {
  planning::Cluster made = planning::find_cluster(cluster);
  if (nodes > 0) {
    // Power and price are of the whole, as it was described.
    const double share = static_cast<double>(nodes) / made.nodes;
    for (auto* figure : {&made.watts, &made.dollars}) {
      if (*figure) (*figure)->value *= share;
    }
    made.nodes = nodes;
  }
  if (static_cast<Index>(made.nodes) * made.devices_per_node > (1 << 24)) {
    throw UsageError("--nodes", "that makes more than 2^24 devices", "give fewer");
  }
  return made;
}

planning::Software PlanFlags::make_software(const planning::Cluster& on) const {
  return planning::find_software(software.empty() ? on.software : software);
}

Workload PlanFlags::make_workload(const planning::Model& of, const planning::Cluster& on) const {
  Workload made;
  made.kind = prefill  ? Workload::Kind::prefill
              : decode ? Workload::Kind::decode
                       : Workload::Kind::train;
  const bool training = made.kind == Workload::Kind::train;
  if (training && batch > 0 && global_batch == 0) {
    throw UsageError("--batch", "it is for --prefill and --decode", "pass --global-batch");
  }
  if (!training && global_batch > 0) {
    throw UsageError("--global-batch", "it is for --train", "pass --batch");
  }
  made.batch = training ? (global_batch > 0 ? global_batch : 512) : std::max<Index>(batch, 1);
  const Index usual = std::min<Index>(of.context, training ? 8192 : prefill ? 2048 : 128);
  made.sequence = context > 0 ? context : usual;
  const auto has = [&](const char* each) { return on.device.peak.count(each) > 0; };
  made.type = !type.empty() ? type : has("bf16") ? "bf16" : "fp32";
  made.weights = training ? "" : weights;
  if (training && !weights.empty()) {
    throw UsageError("--weights", "it is for --prefill and --decode", "pass --dtype");
  }
  if (training && (made.type == "int8" || made.type == "fp4")) {
    throw UsageError("--dtype " + made.type, "nobody trains in it", "choose fp32, bf16 or fp8");
  }
  if (!training && !(gradient_type.empty() && gather_type.empty())) {
    throw UsageError(gradient_type.empty() ? "--gather-dtype" : "--gradient-dtype",
                     "it is for training", "leave it out");
  }
  if (gather_type == "bf16" && made.type == "fp32") {
    throw UsageError("--gather-dtype bf16", "products take fp32 weights", "pass --dtype bf16");
  }
  made.gradient_type = gradient_type;
  made.gather_type = gather_type;
  static_cast<void>(on.device.rate(made.type));
  planning::check(made, of);
  return made;
}

planning::Fixed PlanFlags::make_fixed() const {
  planning::Fixed fixed;
  fixed.micro_batch = micro_batch;
  fixed.interleave = interleave;
  fixed.zero = zero;
  if (recompute == "none") fixed.recompute = planning::Recompute::none;
  if (recompute == "selective") fixed.recompute = planning::Recompute::selective;
  if (recompute == "full") fixed.recompute = planning::Recompute::full;
  if (mesh.empty()) return fixed;
  std::istringstream words(mesh);
  for (std::string word; std::getline(words, word, ',');) {
    const std::size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    int* extent = name == "dp"   ? &fixed.dp
                  : name == "tp" ? &fixed.tp
                  : name == "pp" ? &fixed.pp
                  : name == "ep" ? &fixed.ep
                                 : nullptr;
    if (extent == nullptr) {
      throw UsageError("--mesh " + mesh, "there is no axis '" + name + "'",
                       "use dp, tp, pp and ep, like tp=8,pp=4");
    }
    const std::string number = equals == std::string::npos ? "" : word.substr(equals + 1);
    constexpr std::size_t most_digits = 7;
    const bool whole = !number.empty() && number.size() <= most_digits &&
                       number.find_first_not_of("0123456789") == std::string::npos;
    *extent = whole ? std::stoi(number) : 0;
    if (*extent < 1) {
      throw UsageError("--mesh " + mesh, "'" + number + "' is no number of ranks",
                       "write it like tp=8,pp=4");
    }
  }
  return fixed;
}

std::string describe(const Workload& workload) {
  const std::string stored = workload.weights.empty() ? "" : ", weights in " + workload.weights;
  switch (workload.kind) {
    case Workload::Kind::train:
      return fmt::format("train, a step of {} sequences of {} tokens, {}{}{}", workload.batch,
                         workload.sequence, workload.type,
                         workload.gradient_type.empty() ? "" : ", gradients travel in " + workload.gradient_type,
                         workload.gather_type.empty() ? "" : ", weights in " + workload.gather_type);
    case Workload::Kind::prefill:
      return fmt::format("read {} prompt{} of {} tokens, {}{}", workload.batch,
                         workload.batch == 1 ? "" : "s", workload.sequence, workload.type, stored);
    case Workload::Kind::decode:
      return fmt::format("generate {} sequence{} with {} tokens each, {}{}", workload.batch,
                         workload.batch == 1 ? "" : "s", workload.sequence, workload.type, stored);
  }
  return {};
}

}  // namespace shoal::launch
