// MPI's own broadcast, with whatever algorithm the MPI library chooses: the reference that ours are
// compared with. Blocking, as a program without Shoal would call it; if a rank is gone
// the watch ends it (runtime/watch/watch.hpp).
#include <mpi.h>

#include <shoal/runtime/mpi_interop.hpp>

#include "algorithm.hpp"
#include "mpi_reference.hpp"

namespace shoal {
namespace {

class Mpi final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;
  std::string why_not(const Call& call) const override { return why_not_mpi(call); }
  // MPI does not say what it will do; the formula is that of its usual choices for long messages.
  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    return Seconds(log2_ceil(ranks) * net.alpha + 2 * static_cast<double>(bytes) * net.beta);
  }
  void run(const Call& call) const override {
    check_mpi(MPI_Bcast(call.out, static_cast<int>(call.count), mpi_type(call.type), call.root,
                        mpi_handle(*call.comm)),
              "MPI_Bcast");
  }
};

}  // namespace

const Algorithm& broadcast_mpi() {
  static const Mpi algorithm({Operation::broadcast, "mpi", "the MPI library's own, as the reference",
                              "MPI: A Message-Passing Interface Standard, version 3.1"});
  return algorithm;
}

}  // namespace shoal
