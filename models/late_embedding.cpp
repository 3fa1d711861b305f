#include "late_embedding.hpp"

#include <algorithm>
#include <numeric>

#include <shoal/collectives/all_gather.hpp>
#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/narrow.hpp>
#include <shoal/kernels/local/activation.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/settings.hpp>

namespace shoal::models {

LateEmbedding::LateEmbedding(const Communicator& dp, const Block& ids, Index width, DType wire)
    : dp_(dp),
      ids_(ids),
      width_(width),
      wire_(wire),
      place_(static_cast<std::size_t>(ids.size), -1) {}

void LateEmbedding::collect(Index rows, const std::int32_t* tokens, const float* dout) {
  const auto width = static_cast<std::size_t>(width_);
  for (Index row = 0; row < rows; ++row) {
    const Index id = tokens[row] - ids_.begin;
    if (id < 0 || id >= ids_.size) continue;
    std::int32_t& place = place_[static_cast<std::size_t>(id)];
    const float* from = dout + row * width_;
    if (place < 0) {
      place = static_cast<std::int32_t>(touched_.size());
      touched_.push_back(static_cast<std::int32_t>(id));
      rows_.insert(rows_.end(), from, from + width_);
    } else {
      float* to = rows_.data() + static_cast<std::size_t>(place) * width;
      kernels::add(width_, to, from, to);
    }
  }
}

void LateEmbedding::add_rows(const std::int32_t* ids, const float* rows, std::size_t count,
                             float* table) const {
  for (std::size_t i = 0; i < count; ++i) {
    float* to = table + ids[i] * width_;
    kernels::add(width_, to, rows + static_cast<Index>(i) * width_, to);
  }
}

void LateEmbedding::add_to(float* table) {
  std::vector<Index> counts(static_cast<std::size_t>(dp_.size()));
  const Index mine = static_cast<Index>(touched_.size());
  all_gather(dp_, &mine, 1, counts.data(), DType::i64);
  const Index all = std::accumulate(counts.begin(), counts.end(), Index{0});
  // A dense sum sends the table twice, and has the same bits for any number of ranks where asked to.
  if (settings().reproducible || all > 2 * ids_.size) {
    add_densely(table);
  } else if (all > 0) {
    add_by_rows(counts, all, table);
  }
  for (const std::int32_t id : touched_) place_[static_cast<std::size_t>(id)] = -1;
  touched_.clear();
  rows_.clear();
}

float* LateEmbedding::room_for(Index elements) {
  if (of_all_.size() < elements) {
    of_all_ = {};
    of_all_ = Buffer<float>(elements);
  }
  return of_all_.data();
}

void LateEmbedding::add_densely(float* table) {
  const Buffer<float> sum(ids_.size * width_, Memory::node_shared);
  add_rows(touched_.data(), rows_.data(), touched_.size(), sum.data());
  if (wire_ == DType::bf16) narrow_in_place(sum.data(), sum.size());
  all_reduce(dp_, sum.data(), sum.data(), sum.size(), wire_, ReduceOp::sum);
  if (wire_ == DType::bf16) widen_in_place(sum.data(), 0, sum.size());
  kernels::add(sum.size(), table, sum.data(), table);
}

void LateEmbedding::add_by_rows(const std::vector<Index>& counts, Index all, float* table) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(all));
  all_gather(dp_, touched_.data(), ids.data(), counts, DType::i32);
  std::vector<Index> elements;
  for (const Index count : counts) elements.push_back(count * width_);
  float* const rows = room_for(all * width_);
  if (wire_ == DType::bf16) narrow_in_place(rows_.data(), static_cast<Index>(rows_.size()));
  all_gather(dp_, rows_.data(), rows, elements, wire_);
  if (wire_ == DType::bf16) widen_in_place(rows, 0, all * width_);
  add_rows(ids.data(), rows, ids.size(), table);
}

}  // namespace shoal::models
