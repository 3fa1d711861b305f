// The common shape of the algorithms' files: each defines one `const Algorithm&` function, declared
// here and listed in registry.cpp.
#pragma once

#include <shoal/collectives/registry.hpp>

namespace shoal {

/// What a typical algorithm overrides: names and texts are given once.
class NamedAlgorithm : public Algorithm {
 public:
  struct Texts {
    Operation operation;
    std::string_view name;
    std::string_view description;
    std::string_view source;
  };
  explicit NamedAlgorithm(const Texts& texts) : texts_(texts) {}
  Operation operation() const noexcept override { return texts_.operation; }
  std::string_view name() const noexcept override { return texts_.name; }
  std::string_view description() const noexcept override { return texts_.description; }
  std::string_view source() const noexcept override { return texts_.source; }
  std::string why_not(const Call&) const override { return {}; }

 private:
  Texts texts_;
};

/// By how much a link's time per byte grows where all others send to one at once: they fill the buffers of
/// the switch before it.
inline constexpr double crowded_links = 1.05;

// all_reduce/
class PlannedAllReduce;  // all_reduce/planned.hpp
const Algorithm& all_reduce_node_shared();
const Algorithm& all_reduce_node_staged();
const Algorithm& all_reduce_node_read();
const PlannedAllReduce& all_reduce_recursive_doubling();
const PlannedAllReduce& all_reduce_recursive_multiplying();
const PlannedAllReduce& all_reduce_hybrid();
const PlannedAllReduce& all_reduce_rabenseifner();
const PlannedAllReduce& all_reduce_direct();
const PlannedAllReduce& all_reduce_ring();
const PlannedAllReduce& all_reduce_bidirectional_ring();
/// Each of those, between the nodes only.
std::vector<const Algorithm*> hierarchical_all_reduces();
const Algorithm& all_reduce_gathered();
const Algorithm& all_reduce_hierarchical_gathered();
const Algorithm& all_reduce_mpi();
// reduce_scatter/
const Algorithm& reduce_scatter_node_shared();
const Algorithm& reduce_scatter_node_staged();
const Algorithm& reduce_scatter_node_read();
const Algorithm& reduce_scatter_ring();
const Algorithm& reduce_scatter_direct();
const Algorithm& reduce_scatter_hierarchical();
const Algorithm& reduce_scatter_hierarchical_gathered();
const Algorithm& reduce_scatter_mpi();
// all_gather/
const Algorithm& all_gather_node_shared();
const Algorithm& all_gather_node_staged();
const Algorithm& all_gather_node_read();
const Algorithm& all_gather_ring();
const Algorithm& all_gather_bruck();
const Algorithm& all_gather_hierarchical();
const Algorithm& all_gather_mpi();
// broadcast/
const Algorithm& broadcast_node_shared();
const Algorithm& broadcast_node_staged();
const Algorithm& broadcast_node_read();
const Algorithm& broadcast_binomial();
const Algorithm& broadcast_scatter_all_gather();
const Algorithm& broadcast_chain();
const Algorithm& broadcast_hierarchical();
const Algorithm& broadcast_mpi();
// all_to_all/
const Algorithm& all_to_all_node_shared();
const Algorithm& all_to_all_node_staged();
const Algorithm& all_to_all_node_read();
const Algorithm& all_to_all_direct();
const Algorithm& all_to_all_pairwise();
const Algorithm& all_to_all_hierarchical();
const Algorithm& all_to_all_mpi();
// barrier/
const Algorithm& barrier_node_shared();
const Algorithm& barrier_dissemination();
const Algorithm& barrier_hierarchical();
const Algorithm& barrier_mpi();

// Steps that several algorithms share (steps.cpp).

/// After it, `data` holds at block `rank` (of `counts` elements) the reduction over all ranks' data;
/// the other blocks are left with partial results. p−1 steps around the ring, in segments.
void ring_reduce_scatter(const Call& call, std::byte* data, std::span<const Index> counts);
/// Every rank starts with its own block in `data` and ends with all of them. p−1 steps.
void ring_all_gather(const Call& call, std::byte* data, std::span<const Index> counts);

/// Every rank sends every other its block of call.in, and reduces the inputs of all ranks for its own
/// block, in the order of ranks and at once, into `out` (which may be that block of call.in). The
/// blocks go in pieces, so that the memory this takes is bounded.
void direct_reduce_scatter(const Call& call, std::span<const Index> starts,
                           std::span<const Index> counts, void* out);

/// Offsets of consecutive blocks.
std::vector<Index> starts_of(std::span<const Index> counts);
/// The counts of block_of for every rank.
std::vector<Index> even_counts(Index count, int ranks);

/// Largest power of two that is no larger than n, and its logarithm.
int power_of_two_below(int n) noexcept;
/// Smallest k with 2^k ≥ n.
int log2_ceil(int n) noexcept;

}  // namespace shoal
