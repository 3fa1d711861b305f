#include "parameter_gather.hpp"

#include <utility>

#include <shoal/collectives/all_gather.hpp>
#include <shoal/collectives/nonblocking.hpp>

namespace shoal::models {

ParameterGather::ParameterGather(const Communicator& dp, float* parameters,
                                 std::vector<Block> buckets, bool background)
    : dp_(dp), parameters_(parameters), buckets_(std::move(buckets)), background_(background) {
  for (const Block& bucket : buckets_) {
    const Block mine = block_of(bucket.size, dp.size(), dp.rank());
    owned_.push_back({bucket.begin + mine.begin, mine.size});
  }
}

void ParameterGather::updated(std::size_t bucket) {
  const Block& whole = buckets_[bucket];
  std::vector<Index> counts;
  for (Rank rank = 0; rank < dp_.size(); ++rank) {
    counts.push_back(block_of(whole.size, dp_.size(), rank).size);
  }
  const float* mine = parameters_ + owned_[bucket].begin;
  float* all = parameters_ + whole.begin;
  if (background_) {
    works_.push_back(start_all_gather(dp_, mine, all, counts, DType::f32));
  } else {
    all_gather(dp_, mine, all, counts, DType::f32);
  }
}

void ParameterGather::finish() {
  for (Work& work : works_) work.wait();
  works_.clear();
}

}  // namespace shoal::models
