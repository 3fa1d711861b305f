#include "checkpoint_shares.hpp"

#include <algorithm>
#include <functional>
#include <utility>

namespace shoal::models {
namespace {

// Divides the elements [begin, end) of a dense row-major block of these extents into blocks: rows of
// each dimension that are cut, and all whole ones in between. Calls visit(block, first element).
void divide_into_blocks(std::span<const Index> extents, Index begin, Index end,
                        std::vector<Block>& outer, Index first,
                        const std::function<void(const std::vector<Block>&, Index)>& visit) {
  if (begin >= end) return;
  Index row = 1;
  for (const Index extent : extents.subspan(1)) row *= extent;
  const auto cut = [&](Index index, Index from, Index to) {
    outer.push_back({index, 1});
    divide_into_blocks(extents.subspan(1), from, to, outer, first + index * row, visit);
    outer.pop_back();
  };
  if (begin % row != 0) {
    const Index index = begin / row;
    const Index stop = std::min(end, (index + 1) * row);
    cut(index, begin - index * row, stop - index * row);
    begin = stop;
  }
  const Index whole = end / row - begin / row;
  if (begin < end && whole > 0) {
    std::vector<Block> block = outer;
    block.push_back({begin / row, whole});
    for (const Index extent : extents.subspan(1)) block.push_back({0, extent});
    visit(block, first + begin);
    begin += whole * row;
  }
  if (begin < end) cut(begin / row, begin % row, end - begin / row * row);
}

}  // namespace

MeshPlace place_on(const Mesh& mesh) {
  return {mesh.axis("dp").size(), mesh.axis("tp").size(), mesh.coordinate("dp"),
          mesh.coordinate("tp")};
}

CheckpointShares::CheckpointShares(const MeshPlace& place)
    : place_(place), load_(static_cast<std::size_t>(place.dp * place.tp)) {}

std::vector<Share> CheckpointShares::of_replicas(const std::string& prefix,
                                                 std::span<const Parameter> list) {
  std::vector<Share> shares;
  for (const Parameter& parameter : list) {
    shares.push_back(share_of(prefix + parameter.name, parameter));
  }
  return shares;
}

// All of the tensor, a part of its rows, or, as one that another rank owns, nothing.
Share CheckpointShares::share_of(const std::string& name, const Parameter& parameter) {
  constexpr Index divided_from = Index{1} << 20;
  const auto& [dp, tp, dp_rank, tp_rank] = place_;
  Share share{{name, DType::f32, parameter.global, parameter.block, nullptr, true},
              parameter.offset};
  const int holders = parameter.sharded ? dp : dp * tp;
  const int mine = parameter.sharded ? dp_rank : dp_rank * tp + tp_rank;
  Block& rows = share.slice.block[0];
  const Index row = rows.size == 0 ? 0 : parameter.size / rows.size;
  if (holders > 1 && parameter.global.size() >= divided_from &&
      parameter.global[0] >= 16 * dp * tp) {
    const Block part = block_of(rows.size, holders, mine);
    share.offset += part.begin * row;
    rows = {rows.begin + part.begin, part.size};
    share.slice.owner = part.size > 0;
  } else {
    share.slice.owner = mine == take(parameter, holders);
  }
  return share;
}

// The holder with the least to write so far takes it. Loads are counted alike on every rank, also
// where blocks differ by a row or a head.
int CheckpointShares::take(const Parameter& parameter, int holders) {
  const int ranks_each = parameter.sharded ? place_.tp : 1;
  int best = 0;
  for (int holder = 1; holder < holders; ++holder) {
    if (load(holder, ranks_each) < load(best, ranks_each)) best = holder;
  }
  for (int i = 0; i < ranks_each; ++i) {
    load_[static_cast<std::size_t>(best * ranks_each + i)] += parameter.global.size() / ranks_each;
  }
  return best;
}

Index CheckpointShares::load(int holder, int ranks_each) const {
  return load_[static_cast<std::size_t>(holder * ranks_each)];
}

std::vector<Share> CheckpointShares::of_owned(const std::string& prefix,
                                              std::span<const Parameter> list,
                                              std::span<const Block> owned) const {
  std::vector<Share> shares;
  Index before = 0;  // elements of the ranges so far
  for (const Block& range : owned) {
    for (std::size_t i = 0; i < list.size(); ++i) {
      const Parameter& parameter = list[i];
      const Index begin = std::max(range.begin, parameter.offset) - parameter.offset;
      const Index end = std::min(range.end(), parameter.offset + parameter.size) - parameter.offset;
      std::vector<Index> extents;
      for (const Block& block : parameter.block) extents.push_back(block.size);
      // Of what all tp ranks hold alike, one of them is the owner, in turn.
      const bool owner =
          parameter.sharded || static_cast<int>(i % static_cast<std::size_t>(place_.tp)) ==
                                   place_.tp_rank;
      std::vector<Block> outer;
      divide_into_blocks(
          extents, begin, end, outer, 0, [&](const std::vector<Block>& block, Index first) {
            Share share{{prefix + parameter.name, DType::f32, parameter.global, block, nullptr,
                         owner},
                        before + parameter.offset + first - range.begin};
            for (std::size_t dim = 0; dim < block.size(); ++dim) {
              share.slice.block[dim].begin += parameter.block[dim].begin;
            }
            shares.push_back(std::move(share));
          });
    }
    before += range.size;
  }
  return shares;
}

}  // namespace shoal::models
