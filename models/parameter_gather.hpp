// Parameters that each dp rank updates a part of, and all have: the second half of ZeRO-1.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <shoal/collectives/work.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/placement.hpp>

namespace shoal::models {

/// Joins the parts of the ranks of `dp`: rank r updates block_of(bucket, ranks, r) of every bucket.
/// Between nodes a bucket travels while the next ones are updated.
class ParameterGather {
 public:
  /// Of the array `parameters`, divided into `buckets` in the order in which they are updated. `dp` and
  /// the array must outlive this. They travel as `wire`: f32, or bf16.
  ParameterGather(const Communicator& dp, float* parameters, std::vector<Block> buckets,
                  bool background, DType wire);

  /// This rank's part of each bucket, as ranges of the array.
  std::span<const Block> owned() const noexcept { return owned_; }
  /// How many these are in all.
  Index owned_elements() const noexcept;
  /// This rank's part of that bucket has its new values: in the array, or, where they travel in bf16, in
  /// `masters`, the parts of all buckets one after the other. Buckets come in order. No bucket may be read
  /// before finish().
  void updated(std::size_t bucket, const float* masters);
  /// Returns when all parts of all ranks are there. Collective.
  void finish();

 private:
  const Communicator& dp_;
  float* parameters_;
  std::vector<Block> buckets_;
  std::vector<Block> owned_;
  std::vector<Index> masters_;  // where each part begins in those
  bool background_;
  DType wire_;
  std::vector<Work> works_;  // of the buckets from the first on
};

}  // namespace shoal::models
