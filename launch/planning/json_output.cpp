#include "planning/json_output.hpp"

#include <cstdio>
#include <fstream>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <shoal/runtime/error.hpp>

namespace shoal::launch {

void add_json_option(CLI::App& app, JsonWish& wish) {
  app.add_option_function<std::vector<std::string>>(
         "--json",
         [&wish](const std::vector<std::string>& words) {
           wish.asked = true;
           if (!words.empty()) wish.file = words.front();
         },
         "print JSON instead of tables; with FILE, write it there beside them")
      ->expected(0, 1)
      ->type_name("[FILE]");
}

void put_json(const JsonWish& wish, const nlohmann::ordered_json& json) {
  if (!wish.asked) return;
  const std::string text = json.dump(2) + '\n';
  if (wish.file.empty()) {
    fmt::print("{}", text);
    return;
  }
  std::ofstream out(wish.file, std::ios::binary);
  out << text;
  out.close();
  if (!out) {
    throw UsageError("--json " + wish.file, "it cannot be written",
                     "name a file in a folder that exists, on a disk with room");
  }
}

nlohmann::ordered_json figure_json(const planning::Figure& figure) {
  return {{"value", figure.value},
          {"confidence", std::string(1, figure.confidence)},
          {"source", figure.source}};
}

nlohmann::ordered_json figures_json(const planning::Cluster& cluster,
                                    const std::string& before) {
  nlohmann::ordered_json json;
  nlohmann::ordered_json& figures = json[cluster.device.name];
  for (const auto& [type, peak] : cluster.device.peak) figures["flops_" + type] = figure_json(peak);
  figures["memory_bytes"] = figure_json(cluster.device.memory_bytes);
  figures["memory_bytes_per_second"] = figure_json(cluster.device.memory_bandwidth);
  figures["matrix_efficiency"] = figure_json(cluster.device.matrix_efficiency);
  figures["memory_efficiency"] = figure_json(cluster.device.memory_efficiency);
  for (const planning::Level& level : cluster.levels) {
    json[before + level.name] = {{"latency_seconds", figure_json(level.latency)},
                        {"bytes_per_second", figure_json(level.bandwidth)},
                        {"efficiency", figure_json(level.efficiency)}};
  }
  return json;
}

}  // namespace shoal::launch
