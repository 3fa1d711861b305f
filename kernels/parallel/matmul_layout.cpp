#include "matmul_layout.hpp"

#include <utility>

namespace shoal::kernels {
namespace {

std::vector<Block> in_order(std::vector<Block> blocks) {
  std::erase_if(blocks, [](const Block& block) { return block.size == 0; });
  std::sort(blocks.begin(), blocks.end(),
            [](const Block& a, const Block& b) { return a.begin < b.begin; });
  blocks.erase(std::unique(blocks.begin(), blocks.end()), blocks.end());
  return blocks;
}

}  // namespace

Layout::Layout(std::vector<Rect> rects) : of_rank(std::move(rects)) {
  for (Rank rank = 0; rank < static_cast<Rank>(of_rank.size()); ++rank) {
    const Rect& rect = of_rank[static_cast<std::size_t>(rank)];
    if (rect.empty()) continue;
    const auto found = std::find_if(parts.begin(), parts.end(),
                                    [&](const Holders& part) { return part.rect == rect; });
    if (found != parts.end()) {
      found->ranks.push_back(rank);
    } else {
      parts.push_back({rect, {rank}});
    }
  }
}

std::vector<Block> Layout::row_blocks() const {
  std::vector<Block> blocks;
  for (const Holders& part : parts) blocks.push_back(part.rect.rows);
  return in_order(std::move(blocks));
}

std::vector<Block> Layout::col_blocks() const {
  std::vector<Block> blocks;
  for (const Holders& part : parts) blocks.push_back(part.rect.cols);
  return in_order(std::move(blocks));
}

std::vector<Block> cut(const std::vector<Block>& a, const std::vector<Block>& b) {
  std::vector<Block> pieces;
  for (const Block& x : a) {
    for (const Block& y : b) {
      const Block piece = meet(x, y);
      if (piece.size > 0) pieces.push_back(piece);
    }
  }
  return in_order(std::move(pieces));
}

}  // namespace shoal::kernels
