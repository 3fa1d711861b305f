// A model on disk: weights, the optimizer's moments, and all that is needed to go on or to sample.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include <shoal/models/gpt.hpp>
#include <shoal/models/optimizer.hpp>
#include <shoal/models/tokenizer.hpp>
#include <shoal/runtime/checkpoint.hpp>
#include <shoal/runtime/checkpoint_writer.hpp>

namespace shoal::models {

/// What save_model writes beside the model's weights.
struct ModelState {
  std::int64_t step = 0;            ///< updates that the weights have seen
  Optimizer* optimizer = nullptr;   ///< its moments; null: weights only
  const Tokenizer* tokenizer = nullptr;
  Metadata metadata;                ///< anything else, under names of the caller's
  int keep_last = 2;                ///< complete checkpoints that stay under the root
};

/// Writes ROOT/step-NNNNNNNN (see save_checkpoint), each block once. Collective over the model's
/// mesh. Throws the same Error on all ranks if any rank cannot write; then what was there before
/// stays.
void save_model(const std::filesystem::path& root, Gpt& model, const ModelState& state);

/// The same while training goes on (see CheckpointWriter::start). Returns once all is copied.
void start_saving(CheckpointWriter& writer, const std::filesystem::path& root, Gpt& model,
                  const ModelState& state);
/// What start_saving copies on this rank. `optimizer` may be null.
Bytes copy_bytes(Gpt& model, Optimizer* optimizer);

/// The form of the model in a checkpoint. Throws UsageError if it is not of a GPT, or of none that
/// can be (see check).
GptConfig config_of(const Checkpoint& checkpoint);

/// A model on disk, opened; it can be loaded on any mesh.
class ModelCheckpoint {
 public:
  /// Collective. `path`: a checkpoint's folder, or the root, which means the newest. Throws
  /// UsageError if there is none, or it is damaged, or not of a GPT.
  static ModelCheckpoint open(const Communicator& world, const std::filesystem::path& path);

  /// Form of the model.
  const GptConfig& config() const noexcept { return config_; }
  const Tokenizer& tokenizer() const noexcept { return tokenizer_; }
  /// Updates that the weights have seen.
  std::int64_t step() const noexcept { return checkpoint_.step(); }
  const Metadata& metadata() const noexcept { return checkpoint_.metadata(); }
  const std::filesystem::path& path() const noexcept { return checkpoint_.path(); }
  /// The mesh that wrote it, as text.
  const std::string& mesh() const noexcept { return checkpoint_.mesh(); }

  /// Reads this rank's blocks of the weights. Throws UsageError if the model has another form.
  void load(Gpt& model) const;
  /// Reads this rank's blocks of the moments, and the number of steps.
  void load(Gpt& model, Optimizer& optimizer) const;

 private:
  ModelCheckpoint(Checkpoint checkpoint, const GptConfig& config, Tokenizer tokenizer);

  Checkpoint checkpoint_;
  GptConfig config_;
  Tokenizer tokenizer_;
};

}  // namespace shoal::models
