// A tuning table as JSON. The text may come from anywhere, so nothing in it is believed: see
// tests/fuzz.
#include <cmath>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <shoal/collectives/tuning.hpp>
#include <shoal/runtime/error.hpp>

namespace shoal {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* format_name = "shoal-tuning-1";
// A rank's choice is one pointer for each operation and power of two: nobody needs more than these.
constexpr std::size_t most_entries = 4096;
constexpr std::size_t most_points = 256;
constexpr int most_ranks = 1 << 24;

[[noreturn]] void refuse(const std::string& problem) {
  throw Error("tuning table", problem, "run shoal tune again");
}

const Json& member(const Json& object, const char* name) {
  if (!object.is_object()) refuse(fmt::format("where \"{}\" should be there is no object", name));
  const auto found = object.find(name);
  if (found == object.end()) refuse(fmt::format("\"{}\" is missing", name));
  return *found;
}

std::string text_in(const Json& object, const char* name) {
  const Json& value = member(object, name);
  if (!value.is_string()) refuse(fmt::format("\"{}\" is not a text", name));
  return value.get<std::string>();
}

double number_in(const Json& object, const char* name, double least, double most) {
  const Json& value = member(object, name);
  const double number = value.is_number() ? value.get<double>() : std::nan("");
  if (!(number >= least && number <= most)) {
    refuse(fmt::format("\"{}\" is not a number from {} to {}", name, least, most));
  }
  return number;
}

std::uint64_t whole_number(const Json& value, const std::string& name, std::uint64_t least,
                           std::uint64_t most) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() < least ||
      value.get<std::uint64_t>() > most) {
    refuse(fmt::format("\"{}\" is not a whole number from {} to {}", name, least, most));
  }
  return value.get<std::uint64_t>();
}

const Json& array_in(const Json& object, const char* name, std::size_t most) {
  const Json& value = member(object, name);
  if (!value.is_array() || value.size() > most) {
    refuse(fmt::format("\"{}\" is not a list of at most {}", name, most));
  }
  return value;
}

// Costs are kept in units that people compare: microseconds and gigabytes a second.
Network level_in(const Json& level) {
  Network network{};
  network.alpha = number_in(level, "latency_us", 1e-4, 1e9) * 1e-6;
  network.beta = 1e-9 / number_in(level, "gigabytes_per_s", 1e-9, 1e6);
  network.gamma = 1e-9 / number_in(level, "reduce_gigabytes_per_s", 1e-9, 1e6);
  return network;
}

// To six digits: what was measured has no more, and what was read is written as it was.
double rounded(double value) { return std::stod(fmt::format("{:.6g}", value)); }

Json level_json(const char* name, const Network& network) {
  return {{"level", name},
          {"latency_us", rounded(network.alpha * 1e6)},
          {"gigabytes_per_s", rounded(1e-9 / network.beta)},
          {"reduce_gigabytes_per_s", rounded(1e-9 / network.gamma)}};
}

TuningTable::Point point_in(const Json& json, Operation operation) {
  TuningTable::Point point;
  point.bytes = whole_number(member(json, "bytes"), "bytes", 0, std::uint64_t{1} << 50);
  point.algorithm = text_in(json, "algorithm");
  bool known = false;
  for (const Algorithm* algorithm : algorithms(operation)) {
    known = known || (algorithm->name() == point.algorithm && point.algorithm != "mpi");
  }
  if (!known) {
    refuse(fmt::format("this version has no algorithm {:.40} to choose for {}",
                       Json(point.algorithm).dump(-1, ' ', true), name_of(operation)));
  }
  const Json& times = member(json, "us");
  if (!times.is_object()) refuse("\"us\" is not an object of times by algorithm");
  for (const auto& [name, value] : times.items()) {
    const double time = value.is_number() ? value.get<double>() : -1;
    if (!(time >= 0 && time <= 1e12)) refuse("a time in \"us\" is no number of microseconds");
    point.microseconds[name] = time;
  }
  return point;
}

TuningTable::Entry entry_in(const Json& json) {
  TuningTable::Entry entry;
  const std::string operation = text_in(json, "operation");
  bool known = false;
  for (const Operation candidate : all_operations) {
    if (operation != name_of(candidate)) continue;
    entry.group.operation = candidate;
    known = true;
  }
  if (!known) refuse("there is an operation that this version does not have");
  entry.group.ranks = static_cast<int>(whole_number(member(json, "ranks"), "ranks", 2, most_ranks));
  entry.group.nodes = static_cast<int>(whole_number(
      member(json, "nodes"), "nodes", 1, static_cast<std::uint64_t>(entry.group.ranks)));
  const std::string memory = text_in(json, "memory");
  if (memory != "local" && memory != "node_shared") {
    refuse("\"memory\" is neither local nor node_shared");
  }
  entry.group.memory = memory == "local" ? Memory::local : Memory::node_shared;
  for (const Json& point : array_in(json, "points", most_points)) {
    entry.points.push_back(point_in(point, entry.group.operation));
    const std::size_t count = entry.points.size();
    if (count > 1 && entry.points[count - 1].bytes <= entry.points[count - 2].bytes) {
      refuse("sizes do not ascend");
    }
  }
  return entry;
}

}  // namespace

TuningTable TuningTable::parse(const std::string& text) {
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) refuse("it is not JSON");
  if (text_in(json, "format") != format_name) {
    refuse(fmt::format("its format is not {}, the one of this version", format_name));
  }
  TuningTable table;
  const Json& provenance = member(json, "provenance");
  if (!provenance.is_object()) refuse("\"provenance\" is not an object");
  for (const auto& [name, value] : provenance.items()) {
    if (!value.is_string()) refuse("\"provenance\" has something that is not a text");
    table.provenance.emplace_back(name, value.get<std::string>());
  }
  for (const Json& level : array_in(json, "levels", 2)) {
    const std::string name = text_in(level, "level");
    if (name != "within_node" && name != "between_nodes") refuse("a level has an unknown name");
    (name == "within_node" ? table.within_node : table.between_nodes) = level_in(level);
  }
  const Json& parameters = member(json, "parameters");
  if (!parameters.is_object()) refuse("\"parameters\" is not an object");
  for (const Parameter which : all_parameters) {
    const std::string name(name_of(which));
    const auto found = parameters.find(name);
    if (found == parameters.end()) continue;
    const auto [least, most] = limits_of(which);
    table.parameters[which] = whole_number(*found, name, least, most);
    if (which == Parameter::stage_bytes && table.parameters[which] % 4096 != 0) {
      refuse("\"" + name + "\" is not a multiple of 4096");
    }
  }
  if (parameters.size() != table.parameters.size()) {
    refuse("\"parameters\" has one that this version does not have");
  }
  for (const Json& entry : array_in(json, "choices", most_entries)) {
    table.entries.push_back(entry_in(entry));
  }
  return table;
}

std::string TuningTable::text() const {
  Json json;
  json["format"] = format_name;
  json["provenance"] = Json::object();
  for (const auto& [name, value] : provenance) json["provenance"][name] = value;
  json["levels"] = Json::array();
  if (within_node) json["levels"].push_back(level_json("within_node", *within_node));
  if (between_nodes) json["levels"].push_back(level_json("between_nodes", *between_nodes));
  json["parameters"] = Json::object();
  for (const auto& [which, value] : parameters) json["parameters"][std::string(name_of(which))] = value;
  json["choices"] = Json::array();
  for (const Entry& entry : entries) {
    Json points = Json::array();
    for (const Point& point : entry.points) {
      Json times = Json::object();
      for (const auto& [name, time] : point.microseconds) times[name] = rounded(time);
      points.push_back({{"bytes", point.bytes}, {"algorithm", point.algorithm}, {"us", times}});
    }
    json["choices"].push_back(
        {{"operation", name_of(entry.group.operation)},
         {"ranks", entry.group.ranks},
         {"nodes", entry.group.nodes},
         {"memory", entry.group.memory == Memory::local ? "local" : "node_shared"},
         {"points", std::move(points)}});
  }
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace shoal
