// MPI's own all_reduce, with whatever algorithm the MPI library chooses: the reference that ours
// are compared with. Blocking, as a program without Shoal would call it; if a rank is gone the
// watch ends it (runtime/watch/watch.hpp).
#include <mpi.h>

#include <shoal/runtime/mpi_interop.hpp>

#include "algorithm.hpp"
#include "mpi_reference.hpp"
#include "reduce/reduce.hpp"

namespace shoal {
namespace {

class Mpi final : public NamedAlgorithm {
 public:
  using NamedAlgorithm::NamedAlgorithm;
  std::string why_not(const Call& call) const override { return why_not_mpi(call); }
  // MPI does not say what it will do; the formula is that of its usual choices for long messages.
  Seconds cost(Bytes bytes, int ranks, const Network& net) const noexcept override {
    const double n = static_cast<double>(bytes);
    return Seconds(2 * log2_ceil(ranks) * net.alpha + 2 * n * net.beta + n * net.gamma);
  }
  void run(const Call& call) const override {
    const void* in = call.in == call.out ? MPI_IN_PLACE : call.in;
    check_mpi(MPI_Allreduce(in, call.out, static_cast<int>(call.count), mpi_type(call.type),
                            mpi_op(call.type, call.op), mpi_handle(*call.comm)),
              "MPI_Allreduce");
    finish_average(call.out, call.count, call.type, call.op, call.comm->size());
  }
};

}  // namespace

const Algorithm& all_reduce_mpi() {
  static const Mpi algorithm({Operation::all_reduce, "mpi", "the MPI library's own, as the reference",
                              "MPI: A Message-Passing Interface Standard, version 3.1"});
  return algorithm;
}

}  // namespace shoal
