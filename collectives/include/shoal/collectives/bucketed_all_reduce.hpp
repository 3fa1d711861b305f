// An all-reduce of an array that comes into being piece by piece, such as gradients in the backward
// pass: what is there travels while the rest is computed.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include <shoal/collectives/options.hpp>
#include <shoal/collectives/work.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/placement.hpp>
#include <shoal/runtime/reduce_op.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal {

/// Reduces an array in place, bucket by bucket (Li et al. 2020, PyTorch Distributed): a bucket starts
/// once all its pieces are ready, and those that are expected earlier have started. All ranks get all
/// of it, or each its part.
///
/// Between nodes the buckets go on in the background (nonblocking.hpp). On one node it is the ranks'
/// own cores that move the data, so there is nothing to hide it behind, and all of it is done at the
/// end, in one call.
class BucketedAllReduce {
 public:
  struct Options {
    Bytes bucket_bytes = Bytes{8} << 20;  ///< about; the last one of the array may be smaller
    enum class When { automatic, background, at_the_end } when = When::automatic;
    CollectiveOptions collective;
    /// Rank r gets only block_of(bucket, ranks, r) of every bucket, for half the messages
    /// (reduce-scatter); what the rest of the array then holds is undefined.
    bool scatter = false;
    /// The type in which the numbers travel: their own, if not set, or bf16 where they are f32. Each
    /// is then rounded to bf16 once before it is sent and once wherever a sum of some of them is sent on;
    /// they are added in f32. Half the bytes, and no more memory: a bucket is rounded where it lies.
    std::optional<DType> wire = std::nullopt;
  };

  /// Of `count` elements at `data`, over `comm`, both of which must outlive this. `pieces`: ranges of
  /// elements without overlap, in the order in which they are expected to be ready; the same on all
  /// ranks. Elements in no piece are ready from the start. Throws Error if a piece is out of the
  /// array or overlaps another, or if such numbers cannot travel as options.wire. Collective.
  BucketedAllReduce(const Communicator& comm, void* data, Index count, DType type, ReduceOp op,
                    std::span<const Block> pieces, const Options& options);
  BucketedAllReduce(const Communicator& comm, void* data, Index count, DType type, ReduceOp op,
                    std::span<const Block> pieces)
      : BucketedAllReduce(comm, data, count, type, op, pieces, Options{}) {}

  /// Piece number `piece` has its values, and is not to be touched until finish(). Throws Error if it
  /// was ready before, or if a bucket fails to start.
  void ready(std::size_t piece);
  /// All pieces are ready; returns when all is reduced, and the next round may begin. Throws Error
  /// if a bucket failed.
  void finish();
  /// Ranges of the array that are reduced together, in the order in which they start; the same on all
  /// ranks.
  std::vector<Block> buckets() const;
  /// True if these go on in the background; otherwise there is one.
  bool in_background() const noexcept { return background_; }
  /// Sizes of the buckets of an array of `count` elements, in no order, without making one.
  static std::vector<Index> bucket_sizes(Index count, DType type, bool background, Bytes bucket_bytes);

  /// True between the first ready() of a round and finish().
  bool under_way() const noexcept { return under_way_; }

  /// Of the last round: the share of the elements that had been reduced when finish() was called. It is
  /// what was hidden; the time since a bucket began is not, since it may have waited for a core.
  double early() const noexcept { return early_; }

 private:
  struct Bucket {
    Block range;
    std::vector<std::size_t> pieces;  ///< that lie in it, in whole or in part
    std::size_t missing = 0;          ///< of these
    Work work;
  };
  void start_what_can();
  std::vector<Index> parts_of(const Block& range) const;
  std::byte* pack(const Block& range) const;
  void unpack(const Block& range) const;

  const Communicator& comm_;
  std::byte* data_;
  Index count_;
  DType type_;
  DType wire_;
  ReduceOp op_;
  CollectiveOptions options_;
  bool background_;
  bool scatter_;
  std::vector<Bucket> buckets_;                        // in the order of their start
  std::vector<std::vector<std::size_t>> buckets_of_;   // by piece
  std::vector<bool> is_ready_;                         // by piece
  std::size_t started_ = 0;
  bool under_way_ = false;
  double early_ = 0;
};

}  // namespace shoal
