#include "parameter_gather.hpp"

#include <utility>

#include <shoal/collectives/all_gather.hpp>
#include <shoal/collectives/narrow.hpp>
#include <shoal/collectives/nonblocking.hpp>
#include <shoal/kernels/local/convert.hpp>

namespace shoal::models {

ParameterGather::ParameterGather(const Communicator& dp, float* parameters,
                                 std::vector<Block> buckets, bool background, DType wire)
    : dp_(dp),
      parameters_(parameters),
      buckets_(std::move(buckets)),
      background_(background),
      wire_(wire) {
  Index before = 0;
  for (const Block& bucket : buckets_) {
    const Block mine = block_of(bucket.size, dp.size(), dp.rank());
    owned_.push_back({bucket.begin + mine.begin, mine.size});
    masters_.push_back(before);
    before += mine.size;
  }
}

Index ParameterGather::owned_elements() const noexcept {
  return owned_.empty() ? 0 : masters_.back() + owned_.back().size;
}

void ParameterGather::updated(std::size_t bucket, const float* masters) {
  const Block& whole = buckets_[bucket];
  std::vector<Index> counts;
  for (Rank rank = 0; rank < dp_.size(); ++rank) {
    counts.push_back(block_of(whole.size, dp_.size(), rank).size);
  }
  auto* const all = reinterpret_cast<std::byte*>(parameters_ + whole.begin);
  std::byte* const mine =
      all + static_cast<Bytes>(owned_[bucket].begin - whole.begin) * size_of(wire_);
  if (wire_ == DType::bf16) {
    // In the first half of the bucket's own memory, which finish() fills again.
    kernels::convert(owned_[bucket].size, masters + masters_[bucket],
                     reinterpret_cast<bfloat16*>(mine));
  }
  if (background_) {
    works_.push_back(start_all_gather(dp_, mine, all, counts, wire_));
  } else {
    all_gather(dp_, mine, all, counts, wire_);
    if (wire_ == DType::bf16) widen_in_place(parameters_ + whole.begin, 0, whole.size);
  }
}

void ParameterGather::finish() {
  for (std::size_t bucket = 0; bucket < works_.size(); ++bucket) {
    works_[bucket].wait();
    if (wire_ != DType::bf16) continue;
    widen_in_place(parameters_ + buckets_[bucket].begin, 0, buckets_[bucket].size);
  }
  works_.clear();
}

}  // namespace shoal::models
