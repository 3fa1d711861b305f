#include "step_log.hpp"

#include <cerrno>
#include <cstdint>
#include <cstring>

#include <nlohmann/json.hpp>
#include <shoal/collectives/broadcast.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/log.hpp>

namespace shoal::launch {

StepLog::StepLog(const Communicator& world, const std::string& path, bool append) : path_(path) {
  if (path.empty()) return;
  std::int32_t problem = 0;
  if (world.rank() == 0) {
    file_.reset(std::fopen(path.c_str(), append ? "a" : "w"));
    if (!file_) problem = errno;
  }
  broadcast(world, &problem, 1, DType::i32, 0);
  if (problem != 0) {
    throw UsageError("--log-json", path + ": " + std::strerror(problem),
                     "give a file in a folder that exists");
  }
}

void StepLog::write(const models::StepReport& report, const std::string& mesh) {
  if (!file_) return;
  nlohmann::ordered_json line;
  line["step"] = report.step;
  if (report.loss) line["loss"] = *report.loss;
  if (report.train_loss) line["train_loss"] = *report.train_loss;
  if (report.val_loss) line["val_loss"] = *report.val_loss;
  line["learning_rate"] = report.learning_rate;
  if (report.loss) {
    line["gradient_norm"] = report.gradient_norm;
    line["tokens_per_s"] = report.tokens_per_s;
    line["step_ms"] = report.step_ms;
    line["gflops"] = report.gflops;
    line["comm_share"] = report.comm_share;
    if (report.overlap) line["overlap"] = *report.overlap;
    if (report.bubble) line["bubble"] = *report.bubble;
  }
  line["mesh"] = mesh;
  const std::string text = line.dump() + '\n';
  if (std::fwrite(text.data(), 1, text.size(), file_.get()) != text.size() ||
      std::fflush(file_.get()) != 0) {
    log::warning("--log-json " + path_ + ": " + std::strerror(errno) +
                 "; no further steps are written to it");
    file_.reset();
  }
}

}  // namespace shoal::launch
