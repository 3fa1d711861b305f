// The --log-json file: one JSON object a step.
#pragma once

#include <cstdio>
#include <memory>
#include <string>

#include <shoal/models/trainer.hpp>
#include <shoal/runtime/communicator.hpp>

namespace shoal::launch {

/// Written by rank 0. Each line is flushed, so that the file can be followed.
class StepLog {
 public:
  /// Collective. An empty path: no log. `append`: keep what is there (a resumed run). Throws
  /// UsageError, the same on all ranks, if rank 0 cannot open the file.
  StepLog(const Communicator& world, const std::string& path, bool append);

  /// Writes a step. Warns, once, if the file cannot be written.
  void write(const models::StepReport& report, const std::string& mesh);

 private:
  std::string path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_{nullptr, std::fclose};
};

}  // namespace shoal::launch
