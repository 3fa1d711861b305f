// All-to-all: every rank has a block for every rank.
#pragma once

#include <span>

#include <shoal/collectives/options.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal {

/// `in` holds a block for every rank, one after the other, `send_counts`[r] elements for rank r;
/// `out` gets the blocks that the ranks have for this one, in order, `receive_counts`[r] elements
/// from rank r. in and out must not overlap. Blocking and collective; what rank a sends to b must be
/// what b expects from a (Error otherwise).
void all_to_all(const Communicator& comm, const void* in, std::span<const Index> send_counts,
                void* out, std::span<const Index> receive_counts, DType type,
                const CollectiveOptions& options = {});
/// The same with `count` elements for each pair of ranks.
void all_to_all(const Communicator& comm, const void* in, void* out, Index count, DType type,
                const CollectiveOptions& options = {});

}  // namespace shoal
