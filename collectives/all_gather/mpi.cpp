// MPI's own all_gather, with whatever algorithm the MPI library chooses: the reference that ours
// are compared with. Blocking, as a program without Shoal would call it; if a rank is gone the
// watch ends it (runtime/watch/watch.hpp).
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
    return Seconds(log2_ceil(ranks) * net.alpha + static_cast<double>(bytes) * net.beta);
  }
  void run(const Call& call) const override {
    const std::vector<int> counts = int_counts(call.counts);
    const std::vector<Index> starts = starts_of(call.counts);
    const std::vector<int> displacements = int_counts(starts);
    const auto me = static_cast<std::size_t>(call.comm->rank());
    const auto* place = static_cast<const std::byte*>(call.out) +
                        static_cast<Bytes>(starts[me]) * size_of(call.type);
    const void* in = call.in == place ? MPI_IN_PLACE : call.in;
    check_mpi(MPI_Allgatherv(in, counts[me], mpi_type(call.type), call.out, counts.data(),
                             displacements.data(), mpi_type(call.type), mpi_handle(*call.comm)),
              "MPI_Allgatherv");
  }
};

}  // namespace

const Algorithm& all_gather_mpi() {
  static const Mpi algorithm({Operation::all_gather, "mpi", "the MPI library's own, as the reference",
                              "MPI: A Message-Passing Interface Standard, version 3.1"});
  return algorithm;
}

}  // namespace shoal
