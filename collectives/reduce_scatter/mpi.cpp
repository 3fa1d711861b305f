// MPI's own reduce_scatter, with whatever algorithm the MPI library chooses: the reference that
// ours are compared with. Blocking, as a program without Shoal would call it; if a rank is gone the
// watch ends it (runtime/watch/watch.hpp).
#include <mpi.h>

#include <algorithm>

#include <shoal/runtime/buffer.hpp>
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
    return Seconds(log2_ceil(ranks) * net.alpha + n * net.beta + n * net.gamma);
  }
  void run(const Call& call) const override {
    const std::vector<int> counts = int_counts(call.counts);
    const Index mine = call.counts[static_cast<std::size_t>(call.comm->rank())];
    // MPI's in-place form wants the result at the front of the input; ours, at the rank's block.
    const Buffer<std::byte> result(static_cast<Index>(static_cast<Bytes>(mine) * size_of(call.type)));
    check_mpi(MPI_Reduce_scatter(call.in, result.data(), counts.data(), mpi_type(call.type),
                                 mpi_op(call.type, call.op), mpi_handle(*call.comm)),
              "MPI_Reduce_scatter");
    std::copy(result.begin(), result.end(), static_cast<std::byte*>(call.out));
    finish_average(call.out, mine, call.type, call.op, call.comm->size());
  }
};

}  // namespace

const Algorithm& reduce_scatter_mpi() {
  static const Mpi algorithm({Operation::reduce_scatter, "mpi", "the MPI library's own, as the reference",
                              "MPI: A Message-Passing Interface Standard, version 3.1"});
  return algorithm;
}

}  // namespace shoal
