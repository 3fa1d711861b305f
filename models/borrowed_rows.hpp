// The token embedding where the first and the last stage of a pipeline need it: one table, on the
// last.
//
// The table is tied to the output layer. Two copies would have to sum their gradients at the end of
// every step, all of it, when nothing is left to hide that behind: 154 MB for GPT-2 124M. Instead
// the last stage sends the rows that a micro-batch's tokens need, each once, before the first stage
// comes to it, and the first sends their gradients back, a micro-batch at a time, beside the
// computation: never more than the smaller of table and activations, and moments and checkpoints
// know one table.
#pragma once

#include <optional>
#include <span>

#include <shoal/models/gpt.hpp>
#include <shoal/models/stage.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/communicator.hpp>

#include "distinct_ids.hpp"
#include "late_embedding.hpp"
#include "stage_lanes.hpp"

namespace shoal::models {

/// The first and the last stage's end of this, of several. With tensor parallelism rank t of one
/// has to do with rank t of the other, and with the ids of its block.
class BorrowedRows {
 public:
  /// `ids`: those of this rank's part of the table, on the last stage; the same on the first.
  BorrowedRows(const Communicator& pp, const Stage& stage, const Block& ids, Index width,
               DType type);
  /// For batches of up to `rows` tokens.
  void make_room(Index rows);
  Bytes bytes() const noexcept;
  /// What bytes() will be.
  static Bytes bytes_for(Index rows, const Block& ids, Index width, DType type) noexcept;

  /// A round over these batches begins, with or without backward passes; on the last stage with the
  /// `table`, which must stay as it is. Batches must outlive the round.
  void begin(std::span<const TokenBatch> batches, bool backward, const float* table);

  /// First stage: the embeddings of the next batch's tokens to out[rows, width], zeros for those of
  /// other tp ranks.
  void embed(float* out, Seconds& waited);
  /// First stage: batch number `batch` has the gradient dout[rows, width] of its embeddings.
  void give_back(std::size_t batch, const float* dout);

  /// Last stage: it comes to batch number `batch`. Sends the rows of one that is later, and adds
  /// the gradients of one that was earlier to `late`, or without one to the table's `gradient`.
  void come_to(std::size_t batch, LateEmbedding* late, float* gradient, Seconds& waited);
  /// Last stage: the gradients that are left.
  void finish(LateEmbedding* late, float* gradient, Seconds& waited);

  /// Returns when all has been sent.
  void drain();

 private:
  void find(std::size_t batch);
  void lend();
  void take_back(LateEmbedding* late, float* gradient, Seconds& waited);

  Stage stage_;
  Block ids_;
  Index width_;
  DistinctIds distinct_;
  SendLane send_;
  ReceiveLane receive_;
  Buffer<float> rows_;  // of one batch, or their gradients
  std::span<const TokenBatch> batches_;
  bool backward_ = false;
  const float* table_ = nullptr;
  std::size_t lent_ = 0, embedded_ = 0, taken_back_ = 0;  // batches of this round
};

}  // namespace shoal::models
