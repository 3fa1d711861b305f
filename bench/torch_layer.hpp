// The transformer block of PyTorch, timed in a program of its own.
#pragma once

#include <optional>
#include <string>

#include <shoal/runtime/units.hpp>

#include "one_process.hpp"

namespace shoal::bench {

/// Extents of a block and its batch.
struct LayerShape {
  Index width, heads, batch, sequence;
  std::string type;  ///< fp32, bf16
};

/// PyTorch in a process of its own with the cores of all ranks, which sleep while it runs.
class TorchLayer {
 public:
  /// Looks for it on rank 0. `peer`: "torch" (it must be there, or Error), "auto", "none". Collective.
  TorchLayer(const Communicator& world, const OneProcess& one, const std::string& peer);

  /// Its version; empty where it is not there.
  const std::string& version() const noexcept { return version_; }
  /// Median seconds of forward and backward, on all ranks; nothing where it failed. Collective.
  std::optional<double> seconds(const LayerShape& shape, double budget) const;

 private:
  const Communicator& world_;
  const OneProcess& one_;
  std::string python_;
  std::string version_;
};

}  // namespace shoal::bench
