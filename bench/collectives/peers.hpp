// Other libraries' collectives, timed in programs of their own over the same ranks' cores.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/communicator.hpp>

namespace shoal::bench {

/// What a peer is to time.
struct PeerTask {
  Operation operation;
  DType type;
  ReduceOp op;
  double seconds_per_size;
  std::vector<Bytes> sizes;
};

/// Another library. Its processes run while all ranks of Shoal sleep, just before the table that its
/// times go into: they cannot take turns within one process.
class Peer {
 public:
  virtual ~Peer() = default;
  /// "Gloo", for a column.
  virtual std::string name() const = 0;
  /// With its version.
  virtual std::string title() const = 0;
  /// Median seconds by size, on rank 0; sizes it could not do are not in it. Collective.
  virtual std::map<Bytes, double> time(const PeerTask& task) = 0;
};

/// Those of `names` ("gloo", "mpich", "auto", "none") that are there. What was asked for by its own
/// name and is not there is an Error that says why; by "auto", a line on standard error. Collective.
std::vector<std::unique_ptr<Peer>> find_peers(const Communicator& world,
                                              const std::vector<std::string>& names);

}  // namespace shoal::bench
