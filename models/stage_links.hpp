// What a stage exchanges with the stages before and after it.
#pragma once

#include <optional>
#include <span>

#include <shoal/models/gpt.hpp>
#include <shoal/models/stage.hpp>
#include <shoal/runtime/mesh.hpp>

#include "borrowed_rows.hpp"
#include "stage_lanes.hpp"

namespace shoal::models {

/// Activations on their way forward and their gradients on their way back. All tp ranks of a stage
/// have the same ones: each sends its part of them to its like, which then puts the parts together
/// within the stage (Narayanan et al. 2021, section 4.1), so that nothing passes between nodes
/// twice. With sequence parallelism (`by_rows`) a rank has, sends and gets only its own rows, and
/// nothing has to be put together.
class StageLinks {
 public:
  /// `stage` is one of several. `mesh` must outlive this.
  StageLinks(const Mesh& mesh, const Stage& stage, const Block& ids, Index width, DType type,
             bool by_rows);
  /// For batches of up to `rows` tokens.
  void make_room(Index rows);
  Bytes bytes() const noexcept;
  /// What bytes() will be on tp rank `tp_rank` of `tp`.
  static Bytes bytes_for(const Stage& stage, int tp, int tp_rank, Index rows, const Block& ids,
                         Index width, DType type, bool by_rows) noexcept;

  /// A round over these batches begins. `table`: the token embedding, on the last stage.
  void begin(std::span<const TokenBatch> batches, bool backward, const float* table);
  /// Returns when all that was sent has gone.
  void finish();

  /// x, of a batch of `count` elements, to the next stage: all of them, or by rows this rank's, alone. So
  /// do the other three take it.
  void send_forward(const float* x, Index count);
  /// From the stage before; node-shared memory saves a copy.
  void receive_forward(float* x);
  /// dx, to the stage before.
  void send_backward(const float* dx, Index count);
  /// From the next stage.
  void receive_backward(float* dx);
  /// On the first and the last stage.
  BorrowedRows& rows() noexcept { return *rows_; }

  /// Time since begin() in which this stage waited for others.
  Seconds& waited() noexcept { return waited_; }

 private:
  Block part_of(Index count) const;
  void send(SendLane& lane, const float* data, Index count);
  void receive(ReceiveLane& lane, float* data, Index count);

  const Communicator& tp_;
  Stage stage_;
  Index width_;
  bool by_rows_;
  std::optional<SendLane> to_next_, to_previous_;
  std::optional<ReceiveLane> from_previous_, from_next_;
  std::optional<BorrowedRows> rows_;
  std::span<const TokenBatch> batches_;
  std::size_t forward_ = 0, backward_ = 0;  // batches that have come, each way
  Seconds waited_{0};
};

}  // namespace shoal::models
