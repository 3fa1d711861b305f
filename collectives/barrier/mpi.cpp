// MPI's own barrier, with whatever algorithm the MPI library chooses: the reference that ours are
// compared with. Blocking, as a program without Shoal would call it; if a rank is gone
// the watch ends it (runtime/watch/watch.hpp).
#include <mpi.h>

#include <shoal/runtime/mpi_interop.hpp>

#include "algorithm.hpp"

namespace shoal {
namespace {

class Mpi final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;
  std::string why_not(const Call&) const override { return {}; }
  // MPI does not say what it will do; the formula is that of its usual choices for long messages.
  Seconds cost(Bytes, int ranks, const Network& net) const noexcept override {
    return Seconds(log2_ceil(ranks) * net.alpha);
  }
  void run(const Call& call) const override {
    check_mpi(MPI_Barrier(mpi_handle(*call.comm)), "MPI_Barrier");
  }
};

}  // namespace

const Algorithm& barrier_mpi() {
  static const Mpi algorithm({Operation::barrier, "mpi", "the MPI library's own, as the reference",
                              "MPI: A Message-Passing Interface Standard, version 3.1"});
  return algorithm;
}

}  // namespace shoal
