#include "stage_links.hpp"

#include <vector>

#include <shoal/collectives/all_gather.hpp>

namespace shoal::models {
namespace {

// Between the same two ranks go messages of both kinds where there are two stages.
constexpr int activations_tag = 1;
constexpr int gradients_tag = 2;

Index elements_of(const TokenBatch& batch, Index width) {
  return batch.sequences * batch.time * width;
}

// Elements, of `count` in rows of `width`, that tp rank `rank` of `tp` sends and gets.
Block part_between_stages(Index count, Index width, int tp, int rank, bool by_rows) {
  if (!by_rows) return block_of(count, tp, rank);
  const Block rows = block_of(count / width, tp, rank);
  return {rows.begin * width, rows.size * width};
}

}  // namespace

StageLinks::StageLinks(const Mesh& mesh, const Stage& stage, const Block& ids, Index width,
                       DType type, bool by_rows)
    : tp_(mesh.axis("tp")), stage_(stage), width_(width), by_rows_(by_rows) {
  const Communicator& pp = mesh.axis("pp");
  if (!stage.last()) {
    to_next_.emplace(pp, stage.index + 1, activations_tag, type);
    from_next_.emplace(pp, stage.index + 1, gradients_tag, type);
  }
  if (!stage.first()) {
    from_previous_.emplace(pp, stage.index - 1, activations_tag, type);
    to_previous_.emplace(pp, stage.index - 1, gradients_tag, type);
  }
  if (stage.first() || stage.last()) rows_.emplace(pp, stage, ids, width, type);
}

Block StageLinks::part_of(Index count) const {
  return part_between_stages(count, width_, tp_.size(), tp_.rank(), by_rows_);
}

void StageLinks::make_room(Index rows) {
  const Index elements = part_of(rows * width_).size;
  for (auto* lane : {&to_next_, &to_previous_}) {
    if (*lane) (*lane)->make_room(elements);
  }
  for (auto* lane : {&from_previous_, &from_next_}) {
    if (*lane) (*lane)->make_room(elements);
  }
  if (rows_) rows_->make_room(rows);
}

Bytes StageLinks::bytes() const noexcept {
  Bytes bytes = rows_ ? rows_->bytes() : 0;
  for (const auto* lane : {&to_next_, &to_previous_}) bytes += *lane ? (*lane)->bytes() : 0;
  for (const auto* lane : {&from_previous_, &from_next_}) bytes += *lane ? (*lane)->bytes() : 0;
  return bytes;
}

Bytes StageLinks::bytes_for(const Stage& stage, int tp, int tp_rank, Index rows, const Block& ids,
                            Index width, DType type, bool by_rows) noexcept {
  const Index elements = part_between_stages(rows * width, width, tp, tp_rank, by_rows).size;
  const Bytes lanes = (stage.first() ? 0 : 2) + (stage.last() ? 0 : 2);
  Bytes bytes = lanes * lane_bytes(elements, type);
  if (stage.first() || stage.last()) bytes += BorrowedRows::bytes_for(rows, ids, width, type);
  return bytes;
}

void StageLinks::begin(std::span<const TokenBatch> batches, bool backward, const float* table) {
  batches_ = batches;
  forward_ = backward_ = 0;
  waited_ = Seconds{0};
  // What comes is expected before anything is sent: others may be blocked until it is.
  for (const TokenBatch& batch : batches) {
    const Index mine = part_of(elements_of(batch, width_)).size;
    if (from_previous_) from_previous_->expect(mine);
    if (from_next_ && backward) from_next_->expect(mine);
  }
  if (rows_) rows_->begin(batches, backward, table);
}

void StageLinks::finish() {
  for (auto* lane : {&to_next_, &to_previous_}) {
    if (*lane) (*lane)->drain();
  }
  if (rows_) rows_->drain();
}

void StageLinks::send(SendLane& lane, const float* data, Index count) {
  const Block mine = part_of(count);
  lane.send(by_rows_ ? data : data + mine.begin, mine.size);
}

void StageLinks::receive(ReceiveLane& lane, float* data, Index count) {
  lane.take(by_rows_ ? data : data + part_of(count).begin, waited_);
  if (tp_.size() == 1 || by_rows_) return;
  std::vector<Index> counts;
  for (Rank rank = 0; rank < tp_.size(); ++rank) {
    counts.push_back(block_of(count, tp_.size(), rank).size);
  }
  all_gather(tp_, data + part_of(count).begin, data, counts, DType::f32);
}

void StageLinks::send_forward(const float* x, Index count) { send(*to_next_, x, count); }

void StageLinks::receive_forward(float* x) {
  receive(*from_previous_, x, elements_of(batches_[forward_++], width_));
}

void StageLinks::send_backward(const float* dx, Index count) { send(*to_previous_, dx, count); }

void StageLinks::receive_backward(float* dx) {
  receive(*from_next_, dx, elements_of(batches_[backward_++], width_));
}

}  // namespace shoal::models
