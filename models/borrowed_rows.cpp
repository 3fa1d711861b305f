#include "borrowed_rows.hpp"

#include <algorithm>

#include <shoal/kernels/local/embedding.hpp>
#include <shoal/runtime/trace.hpp>

namespace shoal::models {
namespace {

// Tags of the lanes, the same both ways: they lead to another rank.
constexpr int borrowed_rows_tag = 3;

Index most_distinct(Index rows, const Block& ids) { return std::min(rows, ids.size); }

Rank other_end(const Stage& stage) { return stage.first() ? stage.count - 1 : 0; }

}  // namespace

BorrowedRows::BorrowedRows(const Communicator& pp, const Stage& stage, const Block& ids,
                           Index width, DType type)
    : stage_(stage),
      ids_(ids),
      width_(width),
      distinct_(ids),
      send_(pp, other_end(stage), borrowed_rows_tag, type),
      receive_(pp, other_end(stage), borrowed_rows_tag, type) {}

void BorrowedRows::make_room(Index rows) {
  const Index elements = most_distinct(rows, ids_) * width_;
  send_.make_room(elements);
  receive_.make_room(elements);
  rows_ = Buffer<float>(elements);
}

Bytes BorrowedRows::bytes() const noexcept {
  return send_.bytes() + receive_.bytes() + static_cast<Bytes>(rows_.size()) * sizeof(float);
}

Bytes BorrowedRows::bytes_for(Index rows, const Block& ids, Index width, DType type) noexcept {
  const Index elements = most_distinct(rows, ids) * width;
  return 2 * lane_bytes(elements, type) + static_cast<Bytes>(elements) * sizeof(float);
}

void BorrowedRows::find(std::size_t batch) {
  const TokenBatch& tokens = batches_[batch];
  distinct_.find(tokens.sequences * tokens.time, tokens.inputs);
}

void BorrowedRows::begin(std::span<const TokenBatch> batches, bool backward, const float* table) {
  batches_ = batches;
  backward_ = backward;
  table_ = table;
  lent_ = embedded_ = taken_back_ = 0;
  if (stage_.first() || backward) {
    for (std::size_t batch = 0; batch < batches.size(); ++batch) {
      find(batch);
      receive_.expect(distinct_.count() * width_);
    }
  }
  if (!stage_.last()) return;
  // As many as the stages before this one can come to without it.
  while (lent_ < std::min(batches.size(), static_cast<std::size_t>(stage_.count))) lend();
}

void BorrowedRows::lend() {
  find(lent_);
  kernels::embedding_forward(distinct_.count(), width_, distinct_.ids().data(), ids_.begin,
                             ids_.size, table_, rows_.data());
  send_.send(rows_.data(), distinct_.count() * width_);
  ++lent_;
}

void BorrowedRows::embed(float* out, Seconds& waited) {
  receive_.take(rows_.data(), waited);
  const trace::Span span("embedding", trace::Category::compute);
  find(embedded_++);
  kernels::embedding_forward(static_cast<Index>(distinct_.places().size()), width_,
                             distinct_.places().data(), 0, distinct_.count(), rows_.data(), out);
}

void BorrowedRows::give_back(std::size_t batch, const float* dout) {
  find(batch);
  std::fill_n(rows_.data(), distinct_.count() * width_, 0.0f);
  kernels::embedding_backward(static_cast<Index>(distinct_.places().size()), width_,
                              distinct_.places().data(), 0, distinct_.count(), dout, rows_.data());
  send_.send(rows_.data(), distinct_.count() * width_);
}

void BorrowedRows::come_to(std::size_t batch, LateEmbedding* late, float* gradient,
                           Seconds& waited) {
  if (lent_ < batches_.size()) lend();
  // Before the first stage came to this batch it has given back the gradients of the one that is so
  // many before it: this does not wait for anything that waits for this stage.
  const auto stages = static_cast<std::size_t>(stage_.count);
  if (backward_ && batch >= stages) take_back(late, gradient, waited);
}

void BorrowedRows::finish(LateEmbedding* late, float* gradient, Seconds& waited) {
  while (backward_ && taken_back_ < batches_.size()) take_back(late, gradient, waited);
}

void BorrowedRows::take_back(LateEmbedding* late, float* gradient, Seconds& waited) {
  receive_.take(rows_.data(), waited);
  const trace::Span span("embedding backward", trace::Category::compute);
  find(taken_back_++);
  if (late != nullptr) {
    late->collect(distinct_.count(), distinct_.ids().data(), rows_.data());
  } else {
    kernels::embedding_backward(distinct_.count(), width_, distinct_.ids().data(), ids_.begin,
                                ids_.size, rows_.data(), gradient);
  }
}

void BorrowedRows::drain() { send_.drain(); }

}  // namespace shoal::models
