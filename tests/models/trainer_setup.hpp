// A small run to train in tests.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <shoal/models/trainer.hpp>

namespace shoal::models::testing {

/// Text with some structure to learn, the same on all ranks.
Dataset small_data(Index block_size = 16);

/// Two layers, four heads, width 32; batches of 8 sequences.
TrainOptions small_run(const Dataset& data);

/// All meshes dp × tp over `ranks` that small_run() can be laid on.
std::vector<MeshShape> meshes(int ranks);

/// Meshes of several stages over `ranks`, for a model of `layers` layers: with each number of
/// stages, on their own, with dp, with tp and with both.
std::vector<MeshShape> pipelines(int ranks, Index layers);

/// What a run reports.
struct Log {
  std::vector<double> losses;             ///< by step, from the first step of the run
  std::vector<double> validation_losses;  ///< in the order of the evaluations
};
Log train(Trainer& trainer);
Log train(const TrainOptions& options, const Mesh& mesh, const Dataset& data);

/// Expects numbers that agree within `relative` at every place.
void expect_close(const std::vector<double>& got, const std::vector<double>& expected,
                  double relative, const std::string& what);

/// An empty folder that all ranks see, removed at the end. Collective.
class SharedFolder {
 public:
  SharedFolder();
  SharedFolder(const SharedFolder&) = delete;
  SharedFolder& operator=(const SharedFolder&) = delete;
  ~SharedFolder();
  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace shoal::models::testing
