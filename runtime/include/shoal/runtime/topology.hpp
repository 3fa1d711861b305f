// Where ranks sit: nodes, sockets, cores, caches.
#pragma once

#include <string>
#include <vector>

#include <shoal/runtime/communicator.hpp>

namespace shoal {

/// What one machine has, as far as this process may use it (through hwloc).
struct Machine {
  std::string host;            ///< host name
  std::string processor;       ///< model name
  int packages = 0;            ///< sockets
  int numa_nodes = 0;
  int cores = 0;               ///< physical cores
  int threads = 0;             ///< hardware threads
  int usable_threads = 0;      ///< hardware threads this process may run on (its binding)
  Bytes l1d = 0, l2 = 0, l3 = 0;  ///< size of one cache of each level; 0: none seen
  Bytes memory = 0;            ///< total memory
  double cpu_quota = 0;        ///< cores that the cgroup's quota allows; 0: no quota
};

/// The machine this process runs on.
Machine local_machine();

/// Where the ranks of a communicator sit. Collective to make.
class Topology {
 public:
  explicit Topology(const Communicator& comm);

  struct Node {
    std::string host;
    std::vector<Rank> ranks;  ///< ranks that share this node, ascending
    Machine machine;          ///< as its first rank sees it
  };
  const std::vector<Node>& nodes() const noexcept { return nodes_; }
  /// Hardware threads that the ranks of this process's node may use together.
  int node_usable_threads() const noexcept { return node_usable_threads_; }

 private:
  std::vector<Node> nodes_;
  int node_usable_threads_ = 0;
};

/// Threads a rank should compute with: its share of the threads that the ranks of its node may use,
/// at least 1, unless OMP_NUM_THREADS says otherwise. The Runtime sets OpenMP to it.
int default_compute_threads();

}  // namespace shoal
