// Parameters that each dp rank updates a part of, and all have: the second half of ZeRO-1.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <shoal/collectives/work.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/placement.hpp>

namespace shoal::models {

/// Joins the parts of the ranks of `dp`: rank r updates block_of(bucket, ranks, r) of every bucket.
/// Between nodes a bucket travels while the next ones are updated.
class ParameterGather {
 public:
  /// Of the array `parameters`, divided into `buckets` in the order in which they are updated. `dp` and
  /// the array must outlive this.
  ParameterGather(const Communicator& dp, float* parameters, std::vector<Block> buckets,
                  bool background);

  /// This rank's part of each bucket, as ranges of the array.
  std::span<const Block> owned() const noexcept { return owned_; }
  /// This rank's part of that bucket has its new values. Buckets come in order.
  void updated(std::size_t bucket);
  /// Returns when all parts of all ranks are there. Collective.
  void finish();

 private:
  const Communicator& dp_;
  float* parameters_;
  std::vector<Block> buckets_;
  std::vector<Block> owned_;
  bool background_;
  std::vector<Work> works_;
};

}  // namespace shoal::models
