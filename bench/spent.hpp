// What steps have cost beside time.
#pragma once

#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal::bench {

/// Of this process and of its node, since some moment.
struct Spent {
  double processor_seconds = 0;  ///< of all threads of this process, in the program and in the kernel
  double sent_bytes = 0;         ///< by the node's network devices, whoever has sent, headers included

  static Spent now();
  Spent operator-(const Spent& before) const {
    return {processor_seconds - before.processor_seconds, sent_bytes - before.sent_bytes};
  }
};

/// The processor time of all ranks together, and the bytes of the node that has sent the most. Collective.
Spent of_all(const Communicator& world, const Spent& mine);

}  // namespace shoal::bench
