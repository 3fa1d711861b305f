// A cluster as a file.
#include "profiles/fields.hpp"

namespace shoal::planning {
namespace {

ProfileJson json_of_figure(const Figure& figure) {
  return ProfileJson::array({figure.value, std::string(1, figure.confidence), figure.source});
}

void put(ProfileJson& json, const char* name, const std::optional<Figure>& figure) {
  if (figure) json[name] = json_of_figure(*figure);
}

void put(ProfileJson& json, const std::map<std::string, Table>& tables) {
  for (const auto& [name, table] : tables) {
    json["measured"][name] = {{"axes", table.axes},
                              {"seconds", table.values},
                              {"confidence", std::string(1, table.confidence)},
                              {"source", table.source}};
  }
}

ProfileJson json_of_device(const Device& device) {
  ProfileJson json;
  json["name"] = device.name;
  for (const auto& [type, peak] : device.peak) json["flops"][type] = json_of_figure(peak);
  json["memory_bytes"] = json_of_figure(device.memory_bytes);
  json["memory_bytes_per_second"] = json_of_figure(device.memory_bandwidth);
  json["matrix_efficiency"] = json_of_figure(device.matrix_efficiency);
  json["memory_efficiency"] = json_of_figure(device.memory_efficiency);
  json["units"] = json_of_figure(device.units);
  json["tile_rows"] = json_of_figure(device.tile_rows);
  json["tile_cols"] = json_of_figure(device.tile_cols);
  for (const auto& [type, depth] : device.half_depth) {
    if (type.empty()) {
      json["half_depth"] = json_of_figure(depth);
    } else {
      json["half_depth"][type] = json_of_figure(depth);
    }
  }
  json["launch_seconds"] = json_of_figure(device.launch_seconds);
  put(json, "synchronous_share", device.synchronous_share);
  put(json, "watts", device.watts);
  put(json, "dollars", device.dollars);
  put(json, device.measured);
  return json;
}

ProfileJson json_of_level(const Level& level) {
  ProfileJson json;
  json["name"] = level.name;
  json["form"] = level.kind == Level::Kind::links ? "links" : "shared_memory";
  json["devices"] = level.devices;
  json["latency_seconds"] = json_of_figure(level.latency);
  json["bytes_per_second"] = json_of_figure(level.bandwidth);
  json["efficiency"] = json_of_figure(level.efficiency);
  json["overhead_seconds"] = json_of_figure(level.overhead);
  json["shared_by"] = level.shared_by;
  json["full_duplex"] = level.full_duplex;
  put(json, "beside_slowdown", level.beside_slowdown);
  put(json, "beside_cost", level.beside_cost);
  put(json, "burst_bytes", level.burst_bytes);
  put(json, level.measured);
  return json;
}

}  // namespace

std::string profile_text(const Cluster& cluster) {
  ProfileJson json;
  json["kind"] = "cluster";
  json["name"] = cluster.name;
  json["device"] = json_of_device(cluster.device);
  json["devices_per_node"] = cluster.devices_per_node;
  json["nodes"] = cluster.nodes;
  json["levels"] = ProfileJson::array();
  for (const Level& level : cluster.levels) json["levels"].push_back(json_of_level(level));
  json["software"] = cluster.software;
  put(json, "watts", cluster.watts);
  put(json, "dollars", cluster.dollars);
  if (cluster.condition) {
    json["condition"] = {{"product_seconds", json_of_figure(cluster.condition->product_seconds)},
                         {"stream_seconds", json_of_figure(cluster.condition->stream_seconds)},
                         {"meeting_seconds", json_of_figure(cluster.condition->meeting_seconds)},
                         {"apart", json_of_figure(cluster.condition->apart)}};
  }
  if (!cluster.note.empty()) json["note"] = cluster.note;
  return json.dump(1) + "\n";
}

}  // namespace shoal::planning
