// What writing to a disk takes from those who compute.
#pragma once

#include <filesystem>

#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal::bench {

/// Seconds that a computation in registers, on all threads of all ranks and in step (they meet every
/// 10 ms or so, as the ranks of a tensor-parallel model do), loses while each rank writes `bytes` over
/// a file of that size in `folder` and syncs it: past the page cache, in large pieces, by a thread of
/// low priority. Nothing is copied or summed, so no checkpoint of that size costs less where all cores
/// compute. Median over `rounds`. Collective. Throws Error, the same on all ranks, if a file cannot be
/// written.
double seconds_lost_to_disk(const Communicator& world, const std::filesystem::path& folder,
                            Bytes bytes, int rounds);

}  // namespace shoal::bench
