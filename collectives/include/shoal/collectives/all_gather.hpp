// All-gather: every rank gets the data of all ranks, in order of rank.
#pragma once

#include <span>

#include <shoal/collectives/options.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal {

/// Rank r brings `counts`[r] elements; `out` gets those of all ranks one after the other. `in` may
/// be this rank's place in `out`; any other overlap is an Error. Blocking and collective: the same
/// counts and type on every rank.
void all_gather(const Communicator& comm, const void* in, void* out,
                std::span<const Index> counts, DType type, const CollectiveOptions& options = {});
/// The same with `count` elements from every rank.
void all_gather(const Communicator& comm, const void* in, Index count, void* out, DType type,
                const CollectiveOptions& options = {});

}  // namespace shoal
