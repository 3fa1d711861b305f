// The JSON files a report is made of, read and checked.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace shoal::launch::report {

/// A row of `shoal bench ... --json`.
struct BenchRow {
  std::string op, shape, algorithm, dtype;
  std::optional<double> bytes;
  double seconds = 0;  ///< positive
  std::string peer;    ///< empty: none
  std::optional<double> peer_seconds, bound_seconds;
  std::map<std::string, double> more;       ///< further numbers, by name
  std::map<std::string, std::string> notes; ///< further words
  /// Rows and columns of "1024x1024x1024"; empty if the shape is no such thing.
  std::vector<double> extents() const;
  double more_of(const std::string& name) const;  ///< 0 if it is not there
};

/// What a bench says of where it ran.
struct MachineFacts {
  std::string host, processor, features;
  int cores = 0;
  double memory_bytes = 0, l2_bytes = 0, l3_bytes = 0;
};

struct BenchFile {
  MachineFacts machine;
  std::map<std::string, std::string> versions;
  std::string revision, date;
  int ranks = 0;
  std::vector<BenchRow> rows;
};

/// What `shoal equal --json` and the predictions of training consist of.
struct CurvePoint {
  double nodes = 0, tokens_per_second = 0;
};
struct EqualMeasure {
  std::string name, type, unit, why;
  double device = 0, nodes = 0;  ///< what each reaches; 0: it cannot
  std::optional<double> needed;  ///< nodes that equal the device; none: no number does
  double stops = 0;              ///< nodes from which on more help little; 0: none
  std::vector<CurvePoint> curve; ///< empty for what is no workload
};
/// A published number that a comparison rests on.
struct Figure {
  std::string of, name, source;
  double value = 0;
  std::string confidence;  ///< A to E (docs/planning.md)
};
struct EqualFile {
  std::string device, node, cluster, model;
  double device_units = 0, nodes = 0;
  std::optional<double> device_watts, nodes_watts;
  std::vector<EqualMeasure> measures;
  std::vector<Figure> figures;
};

/// Tokens a second that the planner expects, by model, type and ranks.
struct Prediction {
  std::string model, type, layout;
  double ranks = 0, nodes = 0, tokens_per_second = 0;
};
struct PredictionFile {
  std::string cluster;
  std::vector<Prediction> points;
};

/// What `shoal plan --check --json` consists of.
struct CheckRow {
  std::string kind, what;
  bool fitted = false;  ///< the profile holds this very measurement
  double measured = 0, predicted = 0;
};
struct CheckChoice {
  std::string model, planned, quickest;
  double planned_seconds = 0, quickest_seconds = 0;
};
struct CheckFile {
  std::string profile;
  std::vector<CheckRow> rows;  ///< one at least
  std::vector<CheckChoice> choices;
};

// They throw Error that names the file, where in it, and what is wrong.
BenchFile read_bench(const std::string& path);
EqualFile read_equal(const std::string& path);
EqualFile parse_equal(const std::string& text, const std::string& where);
PredictionFile read_predictions(const std::string& path);
CheckFile read_check(const std::string& path);

/// How one measurement of a report went.
struct Run {
  enum class State { done, failed, missing, skipped };
  std::string id;       ///< its JSON file is ID.json, its log ID.log
  std::string title;
  std::string command;  ///< as a line for a shell
  State state = State::missing;
  std::string problem;  ///< of those that are not done
  double seconds = 0;   ///< it took
};
/// "done", ...
std::string state_name(Run::State state);

/// report.json: the runs, and when and with what the report was measured.
struct Manifest {
  std::string date, version;
  std::vector<Run> runs;
};
/// Throws Error if the file is not there or wrong.
Manifest read_manifest(const std::string& path);
void write_manifest(const std::string& path, const Manifest& manifest);

}  // namespace shoal::launch::report
