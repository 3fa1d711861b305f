#include <shoal/collectives/bucketed_all_reduce.hpp>

#include <algorithm>
#include <numeric>
#include <string>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/narrow.hpp>
#include <shoal/collectives/nonblocking.hpp>
#include <shoal/collectives/reduce_scatter.hpp>
#include <shoal/runtime/error.hpp>

namespace shoal {
namespace {

constexpr const char* bucketed = "bucketed all_reduce";

std::string text_of(const Block& block) {
  return "[" + std::to_string(block.begin) + ", " + std::to_string(block.end()) + ")";
}

void check_pieces(std::span<const Block> pieces, Index count) {
  std::vector<Block> sorted(pieces.begin(), pieces.end());
  std::sort(sorted.begin(), sorted.end(),
            [](const Block& a, const Block& b) { return a.begin < b.begin; });
  Index end = 0;
  for (const Block& piece : sorted) {
    if (piece.size == 0) continue;
    if (piece.size < 0 || piece.begin < end || piece.end() > count) {
      throw Error(bucketed, "the piece " + text_of(piece) + " overlaps another, or is out of the " +
                                std::to_string(count) + " elements");
    }
    end = piece.end();
  }
}

}  // namespace

BucketedAllReduce::BucketedAllReduce(const Communicator& comm, void* data, Index count, DType type,
                                     ReduceOp op, std::span<const Block> pieces,
                                     const Options& options)
    : comm_(comm),
      data_(static_cast<std::byte*>(data)),
      count_(count),
      type_(type),
      wire_(comm.size() > 1 ? options.wire.value_or(type) : type),
      op_(op),
      options_(options.collective),
      background_(comm.size() > 1 && (options.when == Options::When::background ||
                                      (options.when == Options::When::automatic &&
                                       !comm.on_one_node()))),
      scatter_(options.scatter),
      buckets_of_(pieces.size()),
      is_ready_(pieces.size(), false) {
  check_pieces(pieces, count);
  if (options.bucket_bytes < 1) throw Error(bucketed, "buckets of 0 bytes");
  const DType wire = options.wire.value_or(type);
  if (wire != type && (type != DType::f32 || wire != DType::bf16)) {
    throw Error(bucketed,
                std::string(name_of(type)) + " cannot travel as " + std::string(name_of(wire)),
                "f32 can, as bf16");
  }
  if (!background_) return;
  std::vector<Bucket> cut;
  Index begin = 0;
  for (const Index size : bucket_sizes(count, type, true, options.bucket_bytes)) {
    Bucket bucket;
    bucket.range = {begin, size};
    begin += size;
    cut.push_back(std::move(bucket));
  }
  std::vector<std::size_t> complete(cut.size(), 0);  // 1 + the last piece of each
  for (std::size_t piece = 0; piece < pieces.size(); ++piece) {
    for (std::size_t i = 0; i < cut.size(); ++i) {
      const Block& range = cut[i].range;
      if (pieces[piece].begin < range.end() && range.begin < pieces[piece].end()) {
        cut[i].pieces.push_back(piece);
        complete[i] = piece + 1;
      }
    }
  }
  std::vector<std::size_t> order(cut.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return complete[a] < complete[b]; });
  for (const std::size_t i : order) {
    for (const std::size_t piece : cut[i].pieces) buckets_of_[piece].push_back(buckets_.size());
    cut[i].missing = cut[i].pieces.size();
    buckets_.push_back(std::move(cut[i]));
  }
}

std::vector<Index> BucketedAllReduce::bucket_sizes(Index count, DType type, bool background,
                                                   Bytes bucket_bytes) {
  if (!background) return {count};
  const auto most = std::max<Index>(1, static_cast<Index>(bucket_bytes / size_of(type)));
  const Index buckets = std::max<Index>(1, count / most);
  std::vector<Index> sizes;
  for (Index i = 0; i < buckets; ++i) sizes.push_back(block_of(count, buckets, i).size);
  return sizes;
}

std::vector<Block> BucketedAllReduce::buckets() const {
  if (!background_) return {{0, count_}};
  std::vector<Block> ranges;
  for (const Bucket& bucket : buckets_) ranges.push_back(bucket.range);
  return ranges;
}

std::vector<Index> BucketedAllReduce::parts_of(const Block& range) const {
  std::vector<Index> counts;
  for (Rank rank = 0; rank < comm_.size(); ++rank) {
    counts.push_back(block_of(range.size, comm_.size(), rank).size);
  }
  return counts;
}

void BucketedAllReduce::ready(std::size_t piece) {
  if (piece >= is_ready_.size() || is_ready_[piece]) {
    throw Error(bucketed,
                "piece " + std::to_string(piece) + " of " + std::to_string(is_ready_.size()) +
                    (piece < is_ready_.size() ? " is ready already" : " is not there"),
                "finish() begins a new round");
  }
  under_way_ = true;
  is_ready_[piece] = true;
  for (const std::size_t bucket : buckets_of_[piece]) --buckets_[bucket].missing;
  start_what_can();
}

// What is to travel of a range, and where: at its beginning, if it is narrower.
std::byte* BucketedAllReduce::pack(const Block& range) const {
  std::byte* const first = data_ + static_cast<Bytes>(range.begin) * size_of(type_);
  if (wire_ != type_) narrow_in_place(reinterpret_cast<float*>(first), range.size);
  return first;
}

void BucketedAllReduce::unpack(const Block& range) const {
  if (wire_ == type_) return;
  std::byte* const first = data_ + static_cast<Bytes>(range.begin) * size_of(type_);
  const Block part =
      scatter_ ? block_of(range.size, comm_.size(), comm_.rank()) : Block{0, range.size};
  widen_in_place(reinterpret_cast<float*>(first), part.begin, part.size);
}

void BucketedAllReduce::start_what_can() {
  while (started_ < buckets_.size() && buckets_[started_].missing == 0) {
    Bucket& bucket = buckets_[started_++];
    std::byte* const first = pack(bucket.range);
    if (scatter_) {
      const Index mine = block_of(bucket.range.size, comm_.size(), comm_.rank()).begin;
      bucket.work = start_reduce_scatter(comm_, first,
                                         first + static_cast<Bytes>(mine) * size_of(wire_),
                                         parts_of(bucket.range), wire_, op_, options_);
    } else {
      bucket.work = start_all_reduce(comm_, first, first, bucket.range.size, wire_, op_, options_);
    }
  }
}

void BucketedAllReduce::finish() {
  for (std::size_t piece = 0; piece < is_ready_.size(); ++piece) {
    if (!is_ready_[piece]) ready(piece);
  }
  start_what_can();
  if (!background_) {
    std::byte* const first = pack({0, count_});
    if (scatter_) {
      const Index mine = block_of(count_, comm_.size(), comm_.rank()).begin;
      reduce_scatter(comm_, first, first + static_cast<Bytes>(mine) * size_of(wire_),
                     parts_of({0, count_}), wire_, op_, options_);
    } else {
      all_reduce(comm_, first, first, count_, wire_, op_, options_);
    }
    unpack({0, count_});
  }
  Index early = 0;
  for (Bucket& bucket : buckets_) {
    if (bucket.work.test()) early += bucket.range.size;
  }
  early_ = count_ > 0 ? static_cast<double>(early) / static_cast<double>(count_) : 0;
  for (Bucket& bucket : buckets_) {
    bucket.work.wait();
    unpack(bucket.range);
  }
  for (Bucket& bucket : buckets_) bucket.missing = bucket.pieces.size();
  std::fill(is_ready_.begin(), is_ready_.end(), false);
  started_ = 0;
  under_way_ = false;
}

}  // namespace shoal
