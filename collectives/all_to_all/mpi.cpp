// MPI's own all_to_all, with whatever algorithm the MPI library chooses: the reference that ours
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
    return Seconds((ranks - 1) * net.alpha + static_cast<double>(bytes) * net.beta);
  }
  void run(const Call& call) const override {
    const auto& receives = call.receive_counts.empty() ? call.counts : call.receive_counts;
    const std::vector<int> send_counts = int_counts(call.counts);
    const std::vector<int> receive_counts = int_counts(receives);
    const std::vector<int> send_starts = int_counts(starts_of(call.counts));
    const std::vector<int> receive_starts = int_counts(starts_of(receives));
    check_mpi(MPI_Alltoallv(call.in, send_counts.data(), send_starts.data(), mpi_type(call.type),
                            call.out, receive_counts.data(), receive_starts.data(),
                            mpi_type(call.type), mpi_handle(*call.comm)),
              "MPI_Alltoallv");
  }
};

}  // namespace

const Algorithm& all_to_all_mpi() {
  static const Mpi algorithm({Operation::all_to_all, "mpi", "the MPI library's own, as the reference",
                              "MPI: A Message-Passing Interface Standard, version 3.1"});
  return algorithm;
}

}  // namespace shoal
