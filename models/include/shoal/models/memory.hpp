// What training will take of memory, known before any of it is taken.
#pragma once

#include <string>

#include <shoal/models/trainer.hpp>
#include <shoal/runtime/mesh.hpp>

namespace shoal::models {

/// Memory that a Trainer with these options allocates on the rank at (dp_rank, tp_rank), of stage
/// pp_rank, of `mesh`: to the byte what its buffers have after the first step, except `staging`,
/// which is an upper estimate of what kernels and collectives keep. `between_nodes`: the ranks of
/// the dp axis are on several nodes. The options must have been checked.
MemoryUse predict_memory(const TrainOptions& options, const MeshShape& mesh, int dp_rank,
                         int tp_rank, bool between_nodes, int pp_rank = 0);

/// The memory of a run, all ranks of a node together.
struct MemoryForecast {
  MemoryUse rank;      ///< of the rank that takes the most
  std::string host;    ///< of the node that it is tightest on
  int ranks = 0;       ///< on that node
  Bytes needed = 0;    ///< by these together
  Bytes left = 0;      ///< what the node may still take
  std::string limit;   ///< what limits that: see MemoryLeft

  bool fits() const noexcept { return needed <= left; }
};

/// Before a Trainer is made. The same on all ranks. Collective.
MemoryForecast forecast_memory(const TrainOptions& options, const Mesh& mesh);

/// Throws UsageError, the same on all ranks, if the run cannot fit: with the numbers, and with what
/// would make it fit. Collective.
void require_memory(const TrainOptions& options, const Mesh& mesh);

}  // namespace shoal::models
