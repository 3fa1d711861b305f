// Look-up in a table of embeddings, or in a shard of its rows.
#pragma once

#include <cstdint>

#include <shoal/runtime/units.hpp>

namespace shoal::kernels {

/// out[r,·] = table[ids[r] − first_id,·] if the id lies in [first_id, first_id + shard_ids), else
/// zeros, so that the sum over shards is the look-up in the whole table. table is
/// [shard_ids × width], out [rows × width].
void embedding_forward(Index rows, Index width, const std::int32_t* ids, Index first_id,
                       Index shard_ids, const float* table, float* out);

/// dtable[ids[r] − first_id,·] += dout[r,·] for the ids in the shard. Rows are added in order
/// whatever the number of threads, so the result is always the same.
void embedding_backward(Index rows, Index width, const std::int32_t* ids, Index first_id,
                        Index shard_ids, const float* dout, float* dtable);

}  // namespace shoal::kernels
