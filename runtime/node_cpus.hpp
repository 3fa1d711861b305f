// How the ranks of a machine share its processors, as however many nodes it poses (SHOAL_NODES).
#pragma once

#include <vector>

#include <shoal/runtime/communicator.hpp>

namespace shoal {

struct NodeCpus {
  int ranks = 1;  ///< ranks on this machine that MPI knows to share its memory
  int ranks_in_all = 1;  ///< the same with those of other containers on the same threads
  int all = 0;              ///< hardware threads that any of them may run on
  std::vector<int> numbers;  ///< of these, as the system numbers them
  int own_cores = 1;        ///< cores this rank may run on
  int ranks_with_same = 0;  ///< ranks, this one included, bound to exactly these
  double quota = 0;         ///< cores' worth of time the control group grants; 0: no limit
  double crowding = 1;      ///< as ranks_per_thread(): the same on all ranks
};

/// Collective over `comm`.
NodeCpus node_cpus(const Communicator& comm);

}  // namespace shoal
