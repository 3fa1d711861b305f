// One-way roads between two stages, each for messages of one kind, in order.
//
// Both ends keep two buffers, so that the next message is on its way while one is worked on. They
// hold what travels: fp32, or bf16 where the model computes in bf16.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include <shoal/collectives/work.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/dtype.hpp>

namespace shoal::models {

/// Buffers of one end of a lane.
inline constexpr Index lane_buffers = 2;

/// The end that sends.
class SendLane {
 public:
  /// To rank `to` of `pp`, which must outlive this; messages of `type`.
  SendLane(const Communicator& pp, Rank to, int tag, DType type);
  /// For messages of up to `elements`.
  void make_room(Index elements);
  /// Returns once data[count] may be changed: as long as the message before the last has not gone,
  /// it waits.
  void send(const float* data, Index count);
  /// Returns when all has gone.
  void drain();
  Bytes bytes() const noexcept;

 private:
  const Communicator& pp_;
  Rank to_;
  int tag_;
  DType type_;
  std::array<Buffer<std::byte>, lane_buffers> buffers_;
  std::array<Work, lane_buffers> works_;
  std::size_t next_ = 0;
};

/// The end that receives.
class ReceiveLane {
 public:
  ReceiveLane(const Communicator& pp, Rank from, int tag, DType type);
  void make_room(Index elements);
  /// The messages that are to come, after all that were expected before.
  void expect(Index count);
  /// Waits for the next one; returns its length, and adds the time that it waited to `waited`.
  Index take(float* to, Seconds& waited);
  Bytes bytes() const noexcept;

 private:
  void post();

  const Communicator& pp_;
  Rank from_;
  int tag_;
  DType type_;
  std::array<Buffer<std::byte>, lane_buffers> buffers_;
  std::array<Work, lane_buffers> works_;
  std::vector<Index> counts_;  // of the messages of this round
  std::size_t posted_ = 0;
  std::size_t taken_ = 0;
};

/// Bytes of one end of a lane for messages of up to `elements`.
Bytes lane_bytes(Index elements, DType type) noexcept;

}  // namespace shoal::models
