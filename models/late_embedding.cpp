#include "late_embedding.hpp"

#include <algorithm>
#include <numeric>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/narrow.hpp>
#include <shoal/collectives/nonblocking.hpp>
#include <shoal/kernels/local/activation.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/settings.hpp>

namespace shoal::models {

LateEmbedding::LateEmbedding(const Communicator& dp, const Block& ids, Index width, DType wire)
    : dp_(dp),
      ids_(ids),
      width_(width),
      wire_(wire),
      place_(static_cast<std::size_t>(ids.size), -1),
      counts_(static_cast<std::size_t>(dp.size())) {}

// Its row's place in rows_, which is given one of zeros if it has none; -1 if it is not this rank's.
std::int32_t LateEmbedding::place_of(Index id) {
  if (id < 0 || id >= ids_.size) return -1;
  std::int32_t& place = place_[static_cast<std::size_t>(id)];
  if (place >= 0) return place;
  if (told_ != Told::nothing) {
    throw Error("embedding", "a row comes that was not announced", "report this");
  }
  place = static_cast<std::int32_t>(touched_.size());
  touched_.push_back(static_cast<std::int32_t>(id));
  rows_.resize(rows_.size() + static_cast<std::size_t>(width_), 0.0f);
  return place;
}

void LateEmbedding::announce(Index rows, const std::int32_t* tokens) {
  for (Index row = 0; row < rows; ++row) place_of(tokens[row] - ids_.begin);
  tell_counts();
}

void LateEmbedding::announce_further() { tell_ids(); }

void LateEmbedding::collect(Index rows, const std::int32_t* tokens, const float* dout) {
  for (Index row = 0; row < rows; ++row) {
    const std::int32_t place = place_of(tokens[row] - ids_.begin);
    if (place < 0) continue;
    float* const to = rows_.data() + static_cast<Index>(place) * width_;
    kernels::add(width_, to, dout + row * width_, to);
  }
}

void LateEmbedding::send() { tell_rows(); }

// A dense sum sends the table twice, and has the same bits for any number of ranks where asked to.
bool LateEmbedding::densely() const {
  return settings().reproducible || all_ > 2 * ids_.size;
}

void LateEmbedding::tell_counts() {
  mine_ = static_cast<Index>(touched_.size());
  const std::vector<Index> one(counts_.size(), 1);
  under_way_ = start_all_gather(dp_, &mine_, counts_.data(), one, DType::i64);
  told_ = Told::counts;
}

void LateEmbedding::tell_ids() {
  if (told_ == Told::nothing) tell_counts();
  under_way_.wait();
  all_ = std::accumulate(counts_.begin(), counts_.end(), Index{0});
  told_ = Told::ids;
  if (densely() || all_ == 0) return;
  all_ids_.resize(static_cast<std::size_t>(all_));
  under_way_ = start_all_gather(dp_, touched_.data(), all_ids_.data(), counts_, DType::i32);
}

void LateEmbedding::tell_rows() {
  if (told_ < Told::ids) tell_ids();
  under_way_.wait();
  told_ = Told::rows;
  if (densely() || all_ == 0) return;
  std::vector<Index> elements;
  for (const Index count : counts_) elements.push_back(count * width_);
  if (all_rows_.size() < all_ * width_) {
    all_rows_ = {};
    all_rows_ = Buffer<float>(all_ * width_);
  }
  if (wire_ == DType::bf16) narrow_in_place(rows_.data(), static_cast<Index>(rows_.size()));
  under_way_ = start_all_gather(dp_, rows_.data(), all_rows_.data(), elements, wire_);
}

void LateEmbedding::add_rows(const std::int32_t* ids, const float* rows, std::size_t count,
                             float* table) const {
  for (std::size_t i = 0; i < count; ++i) {
    float* to = table + ids[i] * width_;
    kernels::add(width_, to, rows + static_cast<Index>(i) * width_, to);
  }
}

void LateEmbedding::add_to(float* table) {
  if (told_ < Told::rows) tell_rows();
  under_way_.wait();
  if (densely()) {
    add_densely(table);
  } else if (all_ > 0) {
    if (wire_ == DType::bf16) widen_in_place(all_rows_.data(), 0, all_ * width_);
    add_rows(all_ids_.data(), all_rows_.data(), all_ids_.size(), table);
  }
  for (const std::int32_t id : touched_) place_[static_cast<std::size_t>(id)] = -1;
  touched_.clear();
  rows_.clear();
  all_ids_.clear();
  told_ = Told::nothing;
}

void LateEmbedding::add_densely(float* table) {
  const Buffer<float> sum(ids_.size * width_, Memory::node_shared);
  add_rows(touched_.data(), rows_.data(), touched_.size(), sum.data());
  if (wire_ == DType::bf16) narrow_in_place(sum.data(), sum.size());
  all_reduce(dp_, sum.data(), sum.data(), sum.size(), wire_, ReduceOp::sum);
  if (wire_ == DType::bf16) widen_in_place(sum.data(), 0, sum.size());
  kernels::add(sum.size(), table, sum.data(), table);
}

}  // namespace shoal::models
