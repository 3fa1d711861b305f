#include "report/predict.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <shoal/planning/search.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mesh.hpp>

#include "report/results.hpp"

namespace shoal::launch::report {
namespace {

using ProfileText = nlohmann::ordered_json;

constexpr int most_nodes = 16;  // to predict for
constexpr int profile_nodes = 64;

void write_text(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text << '\n';
  out.close();
  if (!out) throw Error("report", path + " cannot be written", "is the disk full?");
}

ProfileText derived(double value, const char* confidence, const std::string& source) {
  return ProfileText::array({value, confidence, source});
}

// What the profile is made of.
struct Rates {
  std::vector<std::pair<std::string, double>> flops;  // of a rank, by type
  double memory_rate = 0;                             // of a rank while all stream
  double latency = 0;                                 // of the smallest all-reduce
  double memory_bytes = 0;                            // of the machine
};

std::vector<BenchFile> read_training() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(".")) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("train-") && name.ends_with(".json")) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  std::vector<BenchFile> files;
  for (const std::string& name : names) {
    try {
      files.push_back(read_bench(name));
    } catch (const Error&) {
      // The page says what is wrong with it.
    }
  }
  std::sort(files.begin(), files.end(),
            [](const BenchFile& a, const BenchFile& b) { return a.ranks < b.ranks; });
  return files;
}

Rates rates_of(const std::vector<BenchFile>& training, const BenchFile& collectives) {
  Rates rates;
  // The rate of a rank while all cores are at work: as it is in a step.
  const BenchFile& all = training.back();
  for (const BenchRow& row : all.rows) {
    const double rate = row.more_of("peak_gflops") * 1e9 / all.ranks;
    const bool known = std::any_of(rates.flops.begin(), rates.flops.end(),
                                   [&](const auto& each) { return each.first == row.dtype; });
    if (rate > 0 && !known) rates.flops.emplace_back(row.dtype, rate);
  }
  rates.memory_bytes = all.machine.memory_bytes;
  double largest = 0, smallest = 1e300;
  for (const BenchRow& row : collectives.rows) {
    if (row.op != "all_reduce" || row.algorithm != "auto" || !row.bytes || !row.bound_seconds) continue;
    if (*row.bytes > largest) {
      largest = *row.bytes;
      // Each rank reads as much as its buffer from all inputs, and writes as much.
      rates.memory_rate = 2 * largest / *row.bound_seconds;
    }
    if (*row.bytes < smallest) {
      smallest = *row.bytes;
      rates.latency = row.seconds;
    }
  }
  if (rates.flops.empty() || rates.memory_rate <= 0 || rates.memory_bytes <= 0) {
    throw Error("report", "train-*.json or collectives.json lack the rate of products or of memory",
                "measure them again");
  }
  return rates;
}

std::string cluster_profile(const Rates& rates, int cores) {
  ProfileText device;
  device["name"] = "core-of-this-machine";
  for (const auto& [type, rate] : rates.flops) {
    device["flops"][type] = derived(rate, "A", "bench train: a 1536-cube product on all ranks at once");
  }
  device["memory_bytes"] = derived(rates.memory_bytes / cores, "A", "memory of the machine, divided");
  device["memory_bytes_per_second"] =
      derived(rates.memory_rate, "A", "bench collectives: the bound of the largest all-reduce");
  device["matrix_efficiency"] = derived(1, "A", "the rate is what was attained");
  device["memory_efficiency"] = derived(1, "A", "the rate is what was attained");
  device["units"] = derived(1, "A", "a core");
  device["tile_rows"] = derived(32, "E", "panels of a vector kernel");
  device["tile_cols"] = derived(64, "E", "panels of a vector kernel");
  device["half_depth"] = derived(32, "E", "packing of operands");
  device["launch_seconds"] = derived(1e-6, "E", "the call of a kernel without threads");
  ProfileText levels = ProfileText::array();
  if (cores > 1) {
    levels.push_back({{"name", "shared memory"},
                      {"form", "shared_memory"},
                      {"devices", cores},
                      {"latency_seconds", derived(std::max(rates.latency, 1e-9), "A",
                                                  "bench collectives: the smallest all-reduce")},
                      {"bytes_per_second", derived(rates.memory_rate, "A", "as the device's memory")},
                      {"efficiency", derived(1, "A", "as measured")},
                      {"overhead_seconds", derived(0, "E", "none in shared memory")}});
  }
  levels.push_back({{"name", "10 Gbit/s Ethernet"},
                    {"form", "links"},
                    {"latency_seconds", derived(2.5e-5, "E", "TCP over a switch")},
                    {"bytes_per_second", derived(1.175e9, "D", "less headers")},
                    {"efficiency", derived(1, "D", "headers are taken off already")},
                    {"overhead_seconds", derived(5e-6, "E", "a further message by TCP")},
                    {"shared_by", cores}});
  ProfileText cluster;
  cluster["kind"] = "cluster";
  cluster["name"] = "this-machine";
  cluster["device"] = std::move(device);
  cluster["devices_per_node"] = cores;
  cluster["nodes"] = profile_nodes;
  cluster["levels"] = std::move(levels);
  cluster["software"] = "shoal";
  return cluster.dump(2);
}

// Empty if the row does not say what was trained.
std::string model_profile(const BenchRow& row) {
  const auto whole = [&](const char* name) { return static_cast<Index>(std::clamp(row.more_of(name), 0.0, 1e15)); };
  // It becomes a file's name.
  if (row.shape.empty() ||
      row.shape.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") != std::string::npos) {
    return {};
  }
  if (whole("layers") <= 0 || whole("width") <= 0 || whole("batch_size") <= 0) return {};
  ProfileText model;
  model["kind"] = "model";
  model["name"] = row.shape;
  model["layers"] = whole("layers");
  model["width"] = whole("width");
  model["heads"] = whole("heads");
  model["ffn"] = 4 * whole("width");
  model["tied"] = true;
  model["learned_positions"] = true;
  model["vocabulary"] = whole("vocabulary");
  model["context"] = whole("block_size");
  model["parameters"] = derived(row.more_of("parameters"), "A", "bench train");
  return model.dump(2);
}

// The best layout on exactly so many ranks, or the mesh that was measured.
std::optional<planning::Estimate> expected_of(const planning::Model& model,
                                              const planning::Cluster& cluster,
                                              const planning::Workload& workload,
                                              const std::string& mesh) {
  planning::Fixed fixed;
  fixed.ranks = cluster.devices();
  fixed.pp = 1;
  fixed.ep = 1;
  if (!mesh.empty()) {
    const MeshShape shape = MeshShape::parse(mesh);
    fixed.dp = shape.size_of("dp");
    fixed.tp = shape.size_of("tp");
  }
  const planning::Software software = planning::find_software(cluster.software);
  const planning::Found found = planning::search(model, software, cluster, workload, fixed, 1);
  if (found.best.empty()) return std::nullopt;
  return found.best.front();
}

}  // namespace

void write_predictions(int cores) {
  const std::vector<BenchFile> training = read_training();
  if (training.empty()) {
    throw Error("report", "there is no measurement of training that a model could be made from",
                "see why train-1 failed");
  }
  const Rates rates = rates_of(training, read_bench("collectives.json"));
  const std::string profile = cluster_profile(rates, cores);
  write_text("this-machine.json", profile);

  ProfileText out;
  out["cluster"] = "this-machine";
  out["profile"] = "this-machine.json";
  out["predictions"] = ProfileText::array();
  for (const BenchRow& row : training.front().rows) {
    const std::string text = model_profile(row);
    if (row.op != "train" || text.empty()) continue;
    write_text(row.shape + ".model.json", text);
    const planning::Model model = planning::parse_model(text, row.shape + ".model.json");
    planning::Workload workload;
    workload.batch = static_cast<Index>(std::min(row.more_of("batch_size"), 1e15));
    workload.sequence = static_cast<Index>(std::min(row.more_of("block_size"), 1e15));
    workload.type = row.dtype;
    const auto add = [&](int ranks, int nodes, const std::string& mesh) {
      planning::Cluster cluster =
          planning::parse_cluster(cluster_profile(rates, ranks), "this-machine.json");
      cluster.nodes = nodes;
      const auto expected = expected_of(model, cluster, workload, mesh);
      if (!expected) return;
      out["predictions"].push_back({{"model", model.name},
                                    {"type", row.dtype},
                                    {"ranks", ranks * nodes},
                                    {"nodes", nodes},
                                    {"layout", expected->layout.text()},
                                    {"tokens_per_second", expected->tokens_per_second},
                                    {"seconds", expected->seconds}});
    };
    for (const BenchFile& file : training) {
      for (const BenchRow& measured : file.rows) {
        if (measured.op == "train" && measured.shape == row.shape && measured.dtype == row.dtype) {
          add(file.ranks, 1, measured.algorithm);
        }
      }
    }
    for (int nodes = 2; nodes <= most_nodes; nodes *= 2) add(cores, nodes, "");
  }
  if (out["predictions"].empty()) {
    throw Error("report", "train-*.json do not say what was trained", "measure them again");
  }
  write_text("predict.json", out.dump(2));
}

}  // namespace shoal::launch::report
