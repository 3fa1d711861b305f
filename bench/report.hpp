// Results of a bench, for programs.
#pragma once

#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <shoal/runtime/communicator.hpp>

namespace shoal::bench {

/// One measurement.
struct Row {
  std::string op;
  std::optional<Bytes> bytes;  ///< of one rank's buffer
  std::string shape;           ///< where there are no bytes: "768x512x128", "gpt2"
  std::string algorithm;
  double median_us = 0;
  std::string peer;            ///< empty: none
  std::optional<double> peer_us;
  std::optional<double> bound_us;
  std::map<std::string, double> more;  ///< further figures, by name with the unit
  std::map<std::string, std::string> notes;
};

/// The --json file: machine, versions, revision, date, ranks, and the rows. Written by rank 0.
class Report {
 public:
  /// Collective. Empty path: no file. Throws UsageError on all ranks if rank 0 cannot open it.
  Report(const Communicator& world, const std::string& path);

  void add(Row row) { rows_.push_back(std::move(row)); }
  /// Collective. Throws Error on all ranks if the file could not be written.
  void write();

 private:
  const Communicator& world_;
  std::string path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_{nullptr, std::fclose};
  std::vector<Row> rows_;
};

/// "2026-05-31T12:00:00Z", now.
std::string utc_now();

}  // namespace shoal::bench
