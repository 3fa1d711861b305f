// Types that carry the unit, so that no interface takes a bare number that could mean two things.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace shoal {

/// Position of a process in a communicator, from 0.
using Rank = int;
/// Extent, stride or count of elements. Signed, 64 bits: counts may exceed 2^31.
using Index = std::int64_t;
/// Size of memory or of a message.
using Bytes = std::size_t;
/// Duration, in seconds, as a floating-point number.
using Seconds = std::chrono::duration<double>;

}  // namespace shoal
