// Profiles from their text.
#include <algorithm>
#include <array>
#include <functional>

#include <fmt/format.h>
#include <shoal/collectives/registry.hpp>
#include <shoal/planning/kernels.hpp>
#include <shoal/runtime/error.hpp>

#include "profiles/fields.hpp"

namespace shoal::planning {
namespace {

constexpr double huge = 1e24;
constexpr Index most_extent = Index{1} << 40;

constexpr std::size_t most_points = 1 << 16;

Table parse_table(const ProfileJson& json, const std::string& where) {
  Fields fields(json, where);
  Table table;
  const auto numbers = [&](const ProfileJson& list, std::vector<double>& out) {
    if (!list.is_array() || list.empty() || list.size() > most_points) {
      refuse_profile(where, "a list of numbers is none, is empty or has more than 2^16");
    }
    for (const ProfileJson& each : list) {
      if (!each.is_number()) refuse_profile(where, "a list of numbers holds something else");
      out.push_back(each.get<double>());
      if (!(out.back() > 0 && out.back() < huge)) {
        refuse_profile(where, fmt::format("{} is not above 0 and below {}", out.back(), huge));
      }
    }
  };
  const ProfileJson& axes = fields.member("axes");
  if (!axes.is_array() || axes.empty() || axes.size() > 3) {
    refuse_profile(where, "\"axes\" are not 1 to 3 lists");
  }
  std::size_t points = 1;
  for (const ProfileJson& axis : axes) {
    std::vector<double>& values = table.axes.emplace_back();
    numbers(axis, values);
    if (std::adjacent_find(values.begin(), values.end(), std::greater_equal<>()) != values.end()) {
      refuse_profile(where, "an axis does not ascend");
    }
    points *= values.size();
    if (points > most_points) refuse_profile(where, "it has more than 2^16 points");
  }
  numbers(fields.member("seconds"), table.values);
  if (table.values.size() != points) {
    refuse_profile(where, fmt::format("{} \"seconds\" for {} points", table.values.size(), points));
  }
  const std::string letter = fields.text("confidence");
  if (letter.size() != 1 || letter[0] < 'A' || letter[0] > 'E') {
    refuse_profile(where, "its \"confidence\" is no letter A to E");
  }
  table.confidence = letter[0];
  table.source = fields.text("source");
  fields.finish();
  return table;
}

// `axes_of`: how many extents a table of that name has; 0: there is none such.
std::map<std::string, Table> parse_tables(Fields& fields, const std::string& where,
                                          std::size_t (*axes_of)(const std::string&)) {
  std::map<std::string, Table> tables;
  if (!fields.has("measured")) return tables;
  const ProfileJson& json = fields.member("measured");
  if (!json.is_object()) refuse_profile(where, "\"measured\" is no object");
  for (const auto& [name, value] : json.items()) {
    const std::size_t axes = axes_of(name);
    if (axes == 0) refuse_profile(where, fmt::format("nobody knows what \"{}\" is", name));
    Table table = parse_table(value, where + ", " + name);
    if (table.axes.size() != axes) {
      refuse_profile(where, fmt::format("\"{}\" has {} axes, not {}", name, table.axes.size(), axes));
    }
    tables[name] = std::move(table);
  }
  return tables;
}

std::size_t axes_of_link(const std::string& name) {
  if (name == "flag" || name == "message") return 1;
  for (const Operation each : all_operations) {
    if (name == name_of(each) || name == whole_nodes_table(name_of(each))) return 2;
  }
  return 0;
}

// From narrow to wide.
constexpr std::array<std::string_view, 5> widening = {"fp4", "fp8", "int8", "bf16", "fp32"};

Level parse_level(const ProfileJson& json, const std::string& where) {
  Fields fields(json, where + ", levels");
  Level level;
  level.name = fields.text("name");
  const std::string kind = fields.text("form");
  if (kind != "links" && kind != "shared_memory") {
    refuse_profile(where, "a level's \"form\" is not links or shared_memory");
  }
  level.kind = kind == "links" ? Level::Kind::links : Level::Kind::shared_memory;
  level.devices = static_cast<int>(fields.whole_or("devices", 0, 0, 1 << 24));
  level.latency = fields.figure("latency_seconds", 1e-9, 10);
  level.bandwidth = fields.figure("bytes_per_second", 1, 1e18);
  level.efficiency = fields.figure("efficiency", 0.01, 1);
  level.overhead = fields.figure("overhead_seconds", 0, 1);
  level.shared_by = static_cast<int>(fields.whole_or("shared_by", 1, 1, 1 << 20));
  level.full_duplex = fields.flag("full_duplex", true);
  level.measured = parse_tables(fields, where + ", level " + level.name, axes_of_link);
  level.beside_slowdown = fields.figure_if("beside_slowdown", 0.1, 1e3);
  level.beside_cost = fields.figure_if("beside_cost", 0, 1e3);
  level.burst_bytes = fields.figure_if("burst_bytes", 0, 1e12);
  fields.finish();
  return level;
}

Condition parse_condition(const ProfileJson& json, const std::string& where) {
  Fields fields(json, where);
  Condition condition;
  condition.product_seconds = fields.figure("product_seconds", 1e-9, 1e3);
  condition.stream_seconds = fields.figure("stream_seconds", 1e-9, 1e3);
  condition.meeting_seconds = fields.figure("meeting_seconds", 1e-9, 1e3);
  condition.apart = fields.figure("apart", 1, 1e6);
  fields.finish();
  return condition;
}

constexpr std::array product_types = {"fp64", "fp32", "bf16", "fp8", "int8", "fp4", "q40"};

// One figure for all types, or an object of them by type.
std::map<std::string, Figure> parse_half_depth(Fields& fields, const std::string& where) {
  constexpr double most = 1e5;
  std::map<std::string, Figure> depths;
  if (!fields.has("half_depth") || !fields.member("half_depth").is_object()) {
    depths[""] = fields.figure("half_depth", 0, most);
    return depths;
  }
  Fields by_type(fields.member("half_depth"), where + ", half_depth");
  for (const char* type : product_types) {
    if (by_type.has(type)) depths[type] = by_type.figure(type, 0, most);
  }
  by_type.finish();
  if (depths.empty()) refuse_profile(where, "\"half_depth\" names no type");
  return depths;
}

Device device_from(const ProfileJson& json, const std::string& where) {
  Fields fields(json, where);
  Device device;
  device.name = fields.text("name");
  const ProfileJson& peaks = fields.member("flops");
  Fields rates(peaks, where + ", flops");
  for (const char* type : product_types) {
    if (rates.has(type)) device.peak[type] = rates.figure(type, 1, huge);
  }
  rates.finish();
  if (device.peak.empty()) refuse_profile(where, "\"flops\" names no type");
  device.memory_bytes = fields.figure("memory_bytes", 1, huge);
  device.memory_bandwidth = fields.figure("memory_bytes_per_second", 1, huge);
  device.matrix_efficiency = fields.figure("matrix_efficiency", 0.01, 1);
  device.memory_efficiency = fields.figure("memory_efficiency", 0.01, 1);
  device.units = fields.figure("units", 1, 1e6);
  device.tile_rows = fields.figure("tile_rows", 1, 4096);
  device.tile_cols = fields.figure("tile_cols", 1, 4096);
  device.synchronous_share = fields.figure_if("synchronous_share", 0.01, 1);
  device.half_depth = parse_half_depth(fields, where);
  device.launch_seconds = fields.figure("launch_seconds", 0, 1);
  device.measured = parse_tables(fields, where, axes_of_kernel);
  device.watts = fields.figure_if("watts", 0, 1e9);
  device.dollars = fields.figure_if("dollars", 0, 1e12);
  fields.finish();
  return device;
}

}  // namespace

std::string whole_nodes_table(std::string_view operation) {
  return std::string(operation) + ".whole_nodes";
}

double Device::rate(std::string_view type, std::string* used) const {
  const auto take = [&](std::string_view found) {
    const auto at = peak.find(std::string(found));
    if (at == peak.end()) return 0.0;
    if (used != nullptr) *used = found;
    return at->second.value;
  };
  if (const double exact = take(type); exact > 0) return exact;
  bool wide_enough = false;
  for (const std::string_view each : widening) {
    wide_enough |= each == type;
    if (!wide_enough) continue;
    if (const double found = take(each); found > 0) return found;
  }
  throw UsageError("device " + name, fmt::format("it has no figure for products in {}", type),
                   "choose another --dtype");
}

ProductRate Device::product_rate(std::string_view type) const {
  std::string used;
  ProductRate out{rate(type, &used), 0};
  if (half_depth.empty()) return out;
  const auto named = [&](std::string_view each) { return half_depth.find(std::string(each)); };
  auto found = named(used);
  if (found == half_depth.end()) found = named("");
  bool wide_enough = false;
  for (const std::string_view each : widening) {
    wide_enough |= each == used;
    if (wide_enough && found == half_depth.end()) found = named(each);
  }
  out.half_depth = found == half_depth.end() ? half_depth.begin()->second : found->second;
  return out;
}

Device parse_device(const std::string& text, const std::string& where) {
  return device_from(parse_profile(text, where, "device"), where);
}

Cluster parse_cluster(const std::string& text, const std::string& where) {
  const ProfileJson json = parse_profile(text, where, "cluster");
  Fields fields(json, where);
  Cluster cluster;
  cluster.name = fields.text("name");
  // A measured machine brings its device along.
  const ProfileJson& device = fields.member("device");
  if (device.is_string()) {
    cluster.device = find_device(device.get<std::string>());
  } else {
    cluster.device = device_from(device, where + ", device");
  }
  cluster.devices_per_node = static_cast<int>(fields.whole("devices_per_node", 1, 1 << 20));
  cluster.nodes = static_cast<int>(fields.whole("nodes", 1, 1 << 20));
  if (static_cast<Index>(cluster.nodes) * cluster.devices_per_node > (1 << 24)) {
    refuse_profile(where, "it has more than 2^24 devices");
  }
  const ProfileJson& levels = fields.member("levels");
  if (!levels.is_array() || levels.empty() || levels.size() > 8) {
    refuse_profile(where, "\"levels\" is not a list of 1 to 8");
  }
  int inner = 1;
  for (const ProfileJson& level : levels) {
    cluster.levels.push_back(parse_level(level, where));
    const int devices = cluster.levels.back().devices;
    const bool last = cluster.levels.size() == levels.size();
    if (last != (devices == 0)) {
      refuse_profile(where, "the last level, and only that, has 0 \"devices\", which is all");
    }
    if (!last && (devices <= inner || devices % inner != 0)) {
      refuse_profile(where,
                     "the \"devices\" of a level are no multiple of those of the level inside");
    }
    if (!last) inner = devices;
  }
  cluster.software = fields.text("software");
  cluster.watts = fields.figure_if("watts", 0, 1e12);
  cluster.dollars = fields.figure_if("dollars", 0, 1e15);
  if (fields.has("note")) cluster.note = fields.text("note");
  if (fields.has("condition")) {
    cluster.condition = parse_condition(fields.member("condition"), where + ", condition");
  }
  fields.finish();
  return cluster;
}

Model parse_model(const std::string& text, const std::string& where) {
  const ProfileJson json = parse_profile(text, where, "model");
  Fields fields(json, where);
  Model model;
  model.name = fields.text("name");
  model.layers = fields.whole("layers", 1, 1 << 20);
  model.width = fields.whole("width", 1, 1 << 24);
  model.heads = fields.whole("heads", 1, 1 << 20);
  model.kv_heads = fields.whole_or("kv_heads", model.heads, 1, model.heads);
  if (!fields.has("head_width") && model.width % model.heads != 0) {
    refuse_profile(where, "\"heads\" does not divide \"width\", and there is no \"head_width\"");
  }
  model.head_width = fields.whole_or("head_width", model.width / model.heads, 1, 1 << 20);
  model.ffn = fields.whole("ffn", 1, 1 << 26);
  model.gated = fields.flag("gated", false);
  model.bias = fields.flag("bias", false);
  model.tied = fields.flag("tied", false);
  model.learned_positions = fields.flag("learned_positions", false);
  model.vocabulary = fields.whole("vocabulary", 1, 1 << 26);
  model.context = fields.whole("context", 1, most_extent);
  model.experts = fields.whole_or("experts", 0, 0, 1 << 20);
  if (model.experts > 0) {
    model.active_experts = fields.whole("active_experts", 1, model.experts);
    model.shared_experts = fields.whole_or("shared_experts", 0, 0, 1 << 10);
    model.expert_ffn = fields.whole("expert_ffn", 1, 1 << 26);
    model.dense_layers = fields.whole_or("dense_layers", 0, 0, model.layers);
  }
  model.kv_rank = fields.whole_or("kv_rank", 0, 0, 1 << 20);
  if (model.kv_rank > 0) {
    model.q_rank = fields.whole("q_rank", 1, 1 << 20);
    model.rope_width = fields.whole("rope_width", 1, 1 << 16);
    model.value_width = fields.whole("value_width", 1, 1 << 16);
  }
  model.published_parameters = fields.figure("parameters", 1, 1e18);
  fields.finish();
  return model;
}

Software parse_software(const std::string& text, const std::string& where) {
  const ProfileJson json = parse_profile(text, where, "software");
  Fields fields(json, where);
  Software software;
  software.name = fields.text("name");
  software.weight_bytes = fields.figure("weight_bytes", 0.1, 64);
  software.gradient_bytes = fields.figure("gradient_bytes", 0, 64);
  software.optimizer_bytes = fields.figure("optimizer_bytes", 0, 64);
  software.optimizer_traffic = fields.figure("optimizer_traffic", 0, 1024);
  software.reduced_bytes = fields.figure("reduced_bytes", 0, 64);
  software.gradient_overlap = fields.figure("gradient_overlap", 0, 1);
  software.call_seconds = fields.figure("call_seconds", 0, 1);
  software.attention_efficiency = fields.figure("attention_efficiency", 0.01, 1);
  software.exchange_bytes = fields.figure("exchange_bytes", 0.1, 64);
  software.layer_operations = fields.figure("layer_operations", 1, 1e4);
  software.synchronous_attention = fields.flag("synchronous_attention", false);
  software.backward_streams = fields.figure_if("backward_streams", 0, 100);
  software.gradient_copies = fields.figure_if("gradient_copies", 0, 100);
  software.exchange_units = fields.figure_if("exchange_units", 0, 1e6);
  software.fused_attention = fields.flag("fused_attention", false);
  software.pipeline = fields.flag("pipeline", false);
  software.interleave = fields.flag("interleave", false);
  software.sequence_parallel = fields.flag("sequence_parallel", false);
  software.expert_parallel = fields.flag("expert_parallel", false);
  software.selective_recompute = fields.flag("selective_recompute", false);
  software.largest_micro_batch = fields.flag("largest_micro_batch", false);
  software.most_zero = static_cast<int>(fields.whole_or("most_zero", 0, 0, 3));
  const std::string exchange = fields.text("exchange");
  if (exchange != "all_reduce" && exchange != "star") {
    refuse_profile(where, "\"exchange\" is not all_reduce or star");
  }
  software.exchange =
      exchange == "star" ? Software::Exchange::star : Software::Exchange::all_reduce;
  fields.finish();
  return software;
}

}  // namespace shoal::planning
