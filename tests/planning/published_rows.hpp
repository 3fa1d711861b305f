// Rows of tables of training throughput that others have published, and how far the plan is from
// them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <shoal/planning/search.hpp>

namespace shoal::planning {

inline double middle_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct TrainingRow {
  const char* cluster;
  const char* model;
  Index sequence, batch;
  Layout layout;
  double tokens;                  // a second and GPU, measured
  std::string gathered, reduced;  // what travels in another type
};

// Errors of the rows, printed.
inline std::vector<double> errors_of(const std::vector<TrainingRow>& rows,
                                     const char* software_name, const char* type) {
  const Software software = find_software(software_name);
  std::vector<double> errors;
  for (const TrainingRow& row : rows) {
    Cluster cluster = find_cluster(row.cluster);
    cluster.device.memory_bytes.value = 1e15;  // it fitted in theirs
    cluster.nodes = std::max(cluster.nodes, row.layout.ranks() / cluster.devices_per_node);
    const Prices prices(cluster);
    Workload work;
    work.batch = row.batch;
    work.sequence = row.sequence;
    work.type = type;
    work.gather_type = row.gathered;
    work.gradient_type = row.reduced;
    Model model = find_model(row.model);
    model.context = std::max(model.context, row.sequence);
    const Estimate made = estimate(model, software, prices, work, row.layout);
    EXPECT_EQ(made.why_not, "") << row.model << ' ' << row.layout.text();
    const double predicted = made.tokens_per_second / row.layout.ranks();
    errors.push_back(predicted / row.tokens - 1);
    std::printf(
        "%-8s %-14s %4d GPUs, %4ld tokens: predicted %6.0f, measured %6.0f tokens/s a GPU "
        "(%+.1f %%)\n",
        row.cluster, row.model, row.layout.ranks(), static_cast<long>(row.sequence), predicted,
        row.tokens, 100 * errors.back());
  }
  std::vector<double> sizes;
  for (const double error : errors) sizes.push_back(std::abs(error));
  std::printf("median %.1f %%, worst %.1f %%\n", 100 * middle_of(sizes),
              100 * *std::max_element(sizes.begin(), sizes.end()));
  return sizes;
}

}  // namespace shoal::planning
