// From a checked call to an algorithm that runs.
#pragma once

#include <shoal/collectives/options.hpp>
#include <shoal/collectives/registry.hpp>

namespace shoal {

/// Runs the call with the algorithm that the options name, or with the best one.
void run_collective(const Call& call, const CollectiveOptions& options);

/// Runs the call with `algorithm`, which must be able to do it.
void run_with(const Call& call, const Algorithm& algorithm);

/// A reduction over the one rank that there is.
void reduce_alone(const Call& call, const CollectiveOptions& options);

/// Throws Error naming the operation unless the arguments make sense.
void require_count(const Call& call, Index count, const char* what);
void require_data(const Call& call, const void* data, Index count, const char* what);
/// Throws Error if two ranges overlap without being the same.
void require_apart(const Call& call, const void* a, Index a_count, const void* b, Index b_count);
void require_counts(const Call& call, std::span<const Index> counts);

}  // namespace shoal
