// Checkpoints that are written while the computation goes on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include <shoal/runtime/checkpoint.hpp>

namespace shoal {

/// Writes one checkpoint at a time, from a copy of the tensors, in a thread of each rank that does
/// file work only. What the ranks do together they do in `advance`, when all their file work is
/// done:
///
///     writer.start(root, step, slices, metadata);
///     while (writer.busy()) {
///       compute();
///       // All ranks must come to the same answer, for instance with an all-reduce they do anyway.
///       if (all_ranks_say(writer.ready())) writer.advance();
///     }
///
/// The checkpoint appears, whole, at the last advance. Up to there, whatever happens, the one
/// before it is the newest.
class CheckpointWriter {
 public:
  /// `world` must outlive the writer.
  explicit CheckpointWriter(const Communicator& world);
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;
  /// Gives up a checkpoint that is under way: it will not appear. Not collective; waits for this
  /// rank's file work.
  ~CheckpointWriter();

  /// Bytes that `start` copies of these slices: those that this rank owns.
  static Bytes copy_bytes(std::span<const TensorSlice> slices);
  /// Gets the memory for copies of that size before it is needed. Throws Error if there is not
  /// enough.
  void reserve(Bytes bytes);
  /// Size of the copy's memory. It is kept for the next checkpoint.
  Bytes reserved() const noexcept;

  /// Copies the slices and begins to write; the arguments are those of save_checkpoint. A
  /// checkpoint that is under way is finished first. Throws Error, the same on all ranks, if there
  /// is no memory or the folder cannot be made. Collective.
  void start(const std::filesystem::path& root, std::int64_t step,
             std::span<const TensorSlice> slices, const Metadata& metadata,
             const SaveOptions& options = {});
  /// A checkpoint is under way. The same on all ranks.
  bool busy() const noexcept;
  /// Its step, or that of the last one.
  std::int64_t step() const noexcept;
  /// This rank has no file work to wait for.
  bool ready() const noexcept;
  /// Goes on to the next stage, or ends the checkpoint: look at busy(). Waits for file work of any
  /// rank that is not ready. Throws Error, the same on all ranks, if any rank could not write; the
  /// checkpoint is then given up and the one before it stays. Throws PeerError if a rank does not
  /// come: the run is lost, not the checkpoint alone. Collective.
  void advance();
  /// Goes on to the end, waiting. Throws as `advance` does. Collective.
  void finish();

 private:
  friend void save_checkpoint(const Communicator&, const std::filesystem::path&, std::int64_t,
                              std::span<const TensorSlice>, const Metadata&, const SaveOptions&);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal
