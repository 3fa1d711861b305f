// How the collectives of a node cut their data.
#pragma once

#include <algorithm>
#include <cstddef>

#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/placement.hpp>

namespace shoal {

inline const std::byte* bytes_at(const void* base, Bytes offset) {
  return static_cast<const std::byte*>(base) + offset;
}
inline std::byte* bytes_at(void* base, Bytes offset) {
  return static_cast<std::byte*>(base) + offset;
}

/// Rank r's part of `count` elements, cut at cache lines so that no two ranks write the same one.
inline Block segment_of(Index count, DType type, int ranks, Rank rank) {
  const Index per_line = static_cast<Index>(64 / size_of(type));
  const Index lines = (count + per_line - 1) / per_line;
  const Block block = block_of(lines, ranks, rank);
  const Index begin = std::min(count, block.begin * per_line);
  return {begin, std::min(count, block.end() * per_line) - begin};
}

/// Calls work(Block) for strips of `strip` elements of `part`, the last one first. They are whole from the start
/// of the part, so that lines are cut as the part was: what is left over is the first to be worked on.
template <class Work>
void in_strips_from_end(const Block& part, Index strip, Work&& work) {
  for (Index end = part.end(); end > part.begin;) {
    const Index begin = part.begin + (end - 1 - part.begin) / strip * strip;
    work(Block{begin, end - begin});
    end = begin;
  }
}

}  // namespace shoal
