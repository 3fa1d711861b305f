#include "plan/segments.hpp"

#include <algorithm>

#include "node/pieces.hpp"

namespace shoal {
namespace {

// What fits MPI's eager message over TCP (64 KiB) with its header, and is short enough to be passed on.
constexpr Bytes largest_by_mpi = 63 << 10;
// By connections of our own. Longer ones cost less in turns and headers, but leave the caches.
constexpr Bytes largest_segment = 128 << 10;
// Shorter segments cost more in messages than they hide.
constexpr Bytes smallest_segment = 32 << 10;
// A block in at least so many segments hides the way of a segment behind that of the others.
constexpr Bytes segments_a_block = 4;
constexpr Bytes segment_line = 64;

}  // namespace

Bytes most_segment_bytes() noexcept { return largest_segment; }
Bytes passed_segment_bytes() noexcept { return largest_by_mpi; }

Bytes wanted_segment_bytes(const Plan& plan, Bytes element, bool by_connections) {
  const Bytes most = by_connections ? largest_segment : largest_by_mpi;
  if (plan.segment_bytes > 0) return std::min(plan.segment_bytes, most);
  Index longest = 0;
  for (const Index count : plan.counts) longest = std::max(longest, count);
  const Bytes bytes = static_cast<Bytes>(longest) * element;
  return std::clamp((bytes + segments_a_block - 1) / segments_a_block, smallest_segment,
                    plan.around ? most : largest_by_mpi);
}

Segments cut_into_segments(std::span<const Index> counts, DType type, Bytes wanted) {
  Segments segments;
  const Bytes lines_each = std::max<Bytes>(1, (wanted + segment_line - 1) / segment_line);
  Index begin = 0;
  for (const Index count : counts) {
    segments.first.push_back(static_cast<int>(segments.all.size()));
    const Bytes lines =
        (static_cast<Bytes>(count) * size_of(type) + segment_line - 1) / segment_line;
    const int parts = static_cast<int>((lines + lines_each - 1) / lines_each);
    for (int part = 0; part < parts; ++part) {
      const Block block = segment_of(count, type, parts, part);
      segments.all.push_back({begin + block.begin, block.size});
    }
    begin += count;
  }
  segments.first.push_back(static_cast<int>(segments.all.size()));
  return segments;
}

}  // namespace shoal
