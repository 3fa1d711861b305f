// What the results say: charts with their sentences, by section.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "report/chart.hpp"
#include "report/results.hpp"

namespace shoal::launch::report {

/// A number that matters, with what it says.
struct Headline {
  std::string number;  ///< "3.4 ×"
  std::string text;
  std::string chart;   ///< id of the chart that shows it
};

/// What a section of the page is made of.
struct Findings {
  std::vector<Chart> charts;
  std::vector<Headline> headlines;
  std::vector<std::string> gaps;  ///< what could not be shown, and why, in sentences
};

/// Collectives on one machine, or in the lab (`lab`): `id` is the measurement's.
Findings collectives_findings(const BenchFile& file, const std::string& id, bool lab);
/// Products in one process.
Findings kernels_findings(const BenchFile& file, const std::string& id);
/// Products divided over ranks.
Findings matmul_findings(const BenchFile& file, const std::string& id);
/// A transformer block divided over ranks.
Findings layer_findings(const BenchFile& file, const std::string& id);
/// The planner against the machine.
Findings check_findings(const CheckFile& file, const std::string& id);
/// Training on 1, 2, ... ranks; predictions may be missing.
struct TrainingRun {
  std::string id;
  BenchFile file;
};
Findings training_findings(const std::vector<TrainingRun>& runs,
                           const std::optional<PredictionFile>& predictions,
                           const std::string& predictions_id);
Findings checkpoint_findings(const BenchFile& file, const std::string& id);
/// Nodes that equal a device. `node_name`: what sentences call several nodes.
Findings equal_findings(const EqualFile& file, const std::string& id, const std::string& node_name);
/// Its curve alone: speed by nodes; none if there is no workload.
std::optional<Chart> equal_curve(const EqualFile& file, const std::string& id);
/// One whole cluster against another, from published figures.
Findings comparison_findings(const EqualFile& file, const std::string& id);

/// "a, b and c".
std::string listed(const std::vector<std::string>& words);
/// "3.4 to 5.6", or one number if both are the same when written.
std::string range_text(double least, double most, Unit unit = Unit::ratio);
double median_of(std::vector<double> values);

}  // namespace shoal::launch::report
