#include "report/results.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <shoal/runtime/error.hpp>

namespace shoal::launch::report {
namespace {

using FileJson = nlohmann::json;

constexpr std::uintmax_t most_file_bytes = std::uintmax_t{64} << 20;

[[noreturn]] void refuse_file(const std::string& path, const std::string& problem) {
  throw Error("report", path + ": " + problem,
              "measure it again: remove the file and use --continue");
}

// A damaged file may hold more than an int does.
int whole_of(double value) { return static_cast<int>(std::min(value, 1e9)); }

// Two times that a page compares: a damaged file may hold numbers whose ratio is none.
void require_ratio(const std::string& path, const std::string& what, double time, double other) {
  const double ratio = time / other;
  if (!std::isfinite(ratio) || ratio == 0) {
    refuse_file(path, fmt::format("the times of {} cannot be compared: {} and {} s", what, time, other));
  }
}

// A place in a file, which knows its name when something is wrong with it.
class Place {
 public:
  Place(const std::string& path, const FileJson& json, std::string name = {})
      : path_(path), json_(json), name_(std::move(name)) {}

  bool has(const char* key) const {
    return json_.is_object() && json_.contains(key) && !json_[key].is_null();
  }
  Place at(const char* key) const {
    if (!has(key)) fail(fmt::format("\"{}\" is missing", key));
    return {path_, json_[key], name_.empty() ? key : name_ + '.' + key};
  }
  double number() const {
    if (!json_.is_number()) fail("it is no number");
    const auto value = json_.get<double>();
    if (!std::isfinite(value)) fail("it is not finite");
    return value;
  }
  double number(const char* key) const { return at(key).number(); }
  double not_negative(const char* key) const {
    const double value = number(key);
    if (value < 0) at(key).fail(fmt::format("{} is negative", value));
    return value;
  }
  double positive(const char* key) const {
    const double value = number(key);
    if (value <= 0) at(key).fail(fmt::format("{} is not positive", value));
    return value;
  }
  double positive_or_0(const char* key) const { return has(key) ? not_negative(key) : 0; }
  std::optional<double> positive_or_none(const char* key) const {
    return has(key) ? std::optional(positive(key)) : std::nullopt;
  }
  bool truth(const char* key) const {
    const Place place = at(key);
    if (!place.json_.is_boolean()) place.fail("it is neither true nor false");
    return place.json_.get<bool>();
  }
  std::string text() const {
    if (!json_.is_string()) fail("it is no text");
    return json_.get<std::string>();
  }
  std::string text(const char* key) const { return at(key).text(); }
  std::string text_or_empty(const char* key) const { return has(key) ? text(key) : ""; }
  void each(const char* key, const std::function<void(const Place&)>& visit) const {
    const Place list = at(key);
    if (!list.json_.is_array()) list.fail("it is no list");
    for (std::size_t i = 0; i < list.json_.size(); ++i) {
      visit({path_, list.json_[i], fmt::format("{}[{}]", list.name_, i)});
    }
  }
  void each_member(const std::function<void(const std::string&, const Place&)>& visit) const {
    if (!json_.is_object()) fail("it is no object");
    for (const auto& [key, value] : json_.items()) {
      visit(key, {path_, value, name_.empty() ? key : name_ + '.' + key});
    }
  }
  bool is_number() const { return json_.is_number(); }
  bool is_text() const { return json_.is_string(); }
  [[noreturn]] void fail(const std::string& problem) const {
    refuse_file(path_, (name_.empty() ? "" : name_ + ": ") + problem);
  }

 private:
  const std::string& path_;
  const FileJson& json_;
  std::string name_;
};

FileJson read_json(const std::string& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in) refuse_file(path, "there is no such file");
  const auto size = static_cast<std::uintmax_t>(std::max<std::streamoff>(in.tellg(), 0));
  if (size > most_file_bytes) refuse_file(path, "it is larger than 64 MiB");
  in.seekg(0);
  try {
    return FileJson::parse(in);
  } catch (const FileJson::parse_error& error) {
    refuse_file(path, fmt::format("it is not JSON, at byte {}", error.byte));
  } catch (const FileJson::exception& error) {  // a number that no double can hold, say
    refuse_file(path, std::string("it is not JSON that can be read: ") + error.what());
  }
}

BenchRow row_of(const Place& place) {
  BenchRow row;
  row.op = place.text("op");
  row.shape = place.text_or_empty("shape");
  row.algorithm = place.text("algorithm");
  row.seconds = place.positive("median_us") * 1e-6;
  row.peer = place.text_or_empty("peer");
  if (place.has("bytes")) row.bytes = place.not_negative("bytes");
  if (const auto us = place.positive_or_none("peer_us")) row.peer_seconds = *us * 1e-6;
  if (const auto us = place.positive_or_none("bound_us")) row.bound_seconds = *us * 1e-6;
  place.each_member([&](const std::string& name, const Place& value) {
    for (const char* known :
         {"op", "shape", "algorithm", "median_us", "peer", "peer_us", "bound_us", "bytes"}) {
      if (name == known) return;
    }
    if (value.is_number()) row.more[name] = value.number();
    if (value.is_text()) row.notes[name] = value.text();
  });
  if (const auto dtype = row.notes.find("dtype"); dtype != row.notes.end()) {
    row.dtype = dtype->second;
  }
  return row;
}

EqualFile equal_of(const std::string& path, const FileJson& json) {
  const Place root(path, json);
  EqualFile file;
  file.device = root.text("device");
  file.node = root.text("node");
  file.cluster = root.text_or_empty("cluster");
  file.model = root.text("model");
  file.device_units = root.positive("device_units");
  file.nodes = root.positive("nodes");
  file.device_watts = root.positive_or_none("device_watts");
  file.nodes_watts = root.positive_or_none("nodes_watts");
  root.each("measures", [&](const Place& place) {
    EqualMeasure measure;
    measure.name = place.text("measure");
    measure.type = place.text_or_empty("type");
    measure.unit = place.text_or_empty("unit");
    measure.device = place.not_negative("device");
    measure.nodes = place.not_negative("nodes");
    measure.needed = place.positive_or_none("needed");
    measure.stops = place.positive_or_0("stops_helping_at");
    measure.why = place.text_or_empty("because");
    if (place.has("curve")) {
      place.each("curve", [&](const Place& point) {
        measure.curve.push_back({point.positive("nodes"), point.not_negative("tokens_per_second")});
      });
    }
    file.measures.push_back(std::move(measure));
  });
  if (file.measures.empty()) refuse_file(path, "it has no measures");
  if (root.has("figures")) {
    root.at("figures").each_member([&](const std::string& of, const Place& figures) {
      figures.each_member([&](const std::string& name, const Place& figure) {
        file.figures.push_back({of, name, figure.text("source"), figure.number("value"),
                                figure.text("confidence")});
      });
    });
  }
  return file;
}

}  // namespace

std::vector<double> BenchRow::extents() const {
  std::vector<double> out;
  for (std::size_t begin = 0; begin < shape.size();) {
    const std::size_t end = std::min(shape.find('x', begin), shape.size());
    char* rest = nullptr;
    const std::string part = shape.substr(begin, end - begin);
    const double value = std::strtod(part.c_str(), &rest);
    if (part.empty() || *rest != 0 || !(value > 0)) return {};
    out.push_back(value);
    begin = end + 1;
  }
  return out;
}

double BenchRow::more_of(const std::string& name) const {
  const auto found = more.find(name);
  return found == more.end() ? 0 : found->second;
}

BenchFile read_bench(const std::string& path) {
  const FileJson json = read_json(path);
  const Place root(path, json);
  BenchFile file;
  const Place machine = root.at("machine");
  file.machine.host = machine.text_or_empty("host");
  file.machine.processor = machine.text_or_empty("processor");
  file.machine.processor.erase(file.machine.processor.find_last_not_of(' ') + 1);
  file.machine.features = machine.text_or_empty("features");
  file.machine.cores = whole_of(machine.positive_or_0("cores"));
  file.machine.memory_bytes = machine.positive_or_0("memory_bytes");
  file.machine.l2_bytes = machine.positive_or_0("l2_bytes");
  file.machine.l3_bytes = machine.positive_or_0("l3_bytes");
  root.at("versions").each_member([&](const std::string& name, const Place& value) {
    if (value.is_text()) file.versions[name] = value.text();
  });
  file.revision = root.text_or_empty("revision");
  file.date = root.text_or_empty("date");
  file.ranks = whole_of(root.positive("ranks"));
  if (file.ranks < 1) refuse_file(path, "\"ranks\" is less than one");
  root.each("results", [&](const Place& row) { file.rows.push_back(row_of(row)); });
  if (file.rows.empty()) refuse_file(path, "it has no results");
  return file;
}

EqualFile read_equal(const std::string& path) { return equal_of(path, read_json(path)); }

EqualFile parse_equal(const std::string& text, const std::string& where) {
  try {
    return equal_of(where, FileJson::parse(text));
  } catch (const FileJson::exception& error) {
    refuse_file(where, std::string("it is not JSON that can be read: ") + error.what());
  }
}

CheckFile read_check(const std::string& path) {
  const FileJson json = read_json(path);
  const Place root(path, json);
  CheckFile file;
  file.profile = root.text_or_empty("profile");
  root.each("rows", [&](const Place& place) {
    file.rows.push_back({place.text("kind"), place.text("what"), place.truth("fitted"),
                         place.positive("measured_seconds"), place.positive("predicted_seconds")});
    const CheckRow& row = file.rows.back();
    require_ratio(path, row.what, row.predicted, row.measured);
  });
  if (file.rows.empty()) refuse_file(path, "it compares nothing");
  if (!root.has("choices")) return file;
  root.each("choices", [&](const Place& place) {
    file.choices.push_back({place.text("model"), place.text("planned"), place.text("quickest"),
                            place.positive("planned_seconds"), place.positive("quickest_seconds")});
    const auto& choice = file.choices.back();
    require_ratio(path, choice.model, choice.planned_seconds, choice.quickest_seconds);
  });
  return file;
}

PredictionFile read_predictions(const std::string& path) {
  const FileJson json = read_json(path);
  const Place root(path, json);
  PredictionFile file;
  file.cluster = root.text("cluster");
  root.each("predictions", [&](const Place& place) {
    file.points.push_back({place.text("model"), place.text("type"), place.text("layout"),
                           place.positive("ranks"), place.positive("nodes"),
                           place.positive("tokens_per_second")});
  });
  if (file.points.empty()) refuse_file(path, "it has no predictions");
  return file;
}

std::string state_name(Run::State state) {
  switch (state) {
    case Run::State::done: return "done";
    case Run::State::failed: return "failed";
    case Run::State::skipped: return "skipped";
    case Run::State::missing: break;
  }
  return "missing";
}

Manifest read_manifest(const std::string& path) {
  const FileJson json = read_json(path);
  const Place root(path, json);
  Manifest manifest;
  manifest.date = root.text_or_empty("date");
  manifest.version = root.text_or_empty("version");
  root.each("runs", [&](const Place& place) {
    Run run;
    run.id = place.text("id");
    // It becomes a file's name and a link.
    if (run.id.empty() || run.id.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") !=
                              std::string::npos) {
      place.at("id").fail("it is not made of small letters, digits and dashes");
    }
    run.title = place.text_or_empty("title");
    run.command = place.text_or_empty("command");
    const std::string state = place.text("state");
    bool known = false;
    for (const Run::State each :
         {Run::State::done, Run::State::failed, Run::State::missing, Run::State::skipped}) {
      if (state != state_name(each)) continue;
      run.state = each;
      known = true;
    }
    if (!known) place.at("state").fail("\"" + state + "\" is not done, failed, missing or skipped");
    run.problem = place.text_or_empty("problem");
    run.seconds = place.positive_or_0("seconds");
    manifest.runs.push_back(std::move(run));
  });
  return manifest;
}

void write_manifest(const std::string& path, const Manifest& manifest) {
  nlohmann::ordered_json json;
  json["date"] = manifest.date;
  json["version"] = manifest.version;
  json["runs"] = nlohmann::ordered_json::array();
  for (const Run& run : manifest.runs) {
    nlohmann::ordered_json entry = {{"id", run.id},
                                    {"title", run.title},
                                    {"command", run.command},
                                    {"state", state_name(run.state)}};
    if (!run.problem.empty()) entry["problem"] = run.problem;
    if (run.seconds > 0) entry["seconds"] = run.seconds;
    json["runs"].push_back(std::move(entry));
  }
  // A file that is replaced at once is never half there.
  const std::string part = path + ".part";
  std::ofstream out(part, std::ios::binary);
  out << json.dump(2, ' ', false, FileJson::error_handler_t::replace) << '\n';
  out.close();
  if (!out || std::rename(part.c_str(), path.c_str()) != 0) {
    throw Error("report", path + " cannot be written", "is the disk full?");
  }
}

}  // namespace shoal::launch::report
