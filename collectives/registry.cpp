#include <shoal/collectives/registry.hpp>

#include <shoal/runtime/error.hpp>

#include "algorithm.hpp"
#include "tuning/current.hpp"

namespace shoal {

std::string_view name_of(Operation operation) noexcept {
  switch (operation) {
    case Operation::all_reduce: return "all_reduce";
    case Operation::reduce_scatter: return "reduce_scatter";
    case Operation::all_gather: return "all_gather";
    case Operation::broadcast: return "broadcast";
    case Operation::all_to_all: return "all_to_all";
    case Operation::barrier: return "barrier";
  }
  return "?";
}

const std::vector<const Algorithm*>& algorithms(Operation operation) {
  // One line an algorithm. A new one is a file, a declaration in algorithm.hpp, and a line here.
  static const std::vector<const Algorithm*> all_reduces = {
      &all_reduce_node_shared(),        &all_reduce_node_staged(), &all_reduce_recursive_doubling(),
      &all_reduce_rabenseifner(),       &all_reduce_ring(),        &all_reduce_direct(),
      &all_reduce_mpi()};
  static const std::vector<const Algorithm*> reduce_scatters = {
      &reduce_scatter_node_shared(), &reduce_scatter_node_staged(), &reduce_scatter_ring(),
      &reduce_scatter_direct(), &reduce_scatter_mpi()};
  static const std::vector<const Algorithm*> all_gathers = {
      &all_gather_node_shared(), &all_gather_node_staged(), &all_gather_bruck(),
      &all_gather_ring(), &all_gather_mpi()};
  static const std::vector<const Algorithm*> broadcasts = {
      &broadcast_node_shared(), &broadcast_node_staged(), &broadcast_binomial(),
      &broadcast_scatter_all_gather(), &broadcast_mpi()};
  static const std::vector<const Algorithm*> all_to_alls = {
      &all_to_all_node_shared(), &all_to_all_node_staged(), &all_to_all_pairwise(),
      &all_to_all_mpi()};
  static const std::vector<const Algorithm*> barriers = {
      &barrier_node_shared(), &barrier_dissemination(), &barrier_mpi()};
  switch (operation) {
    case Operation::all_reduce: return all_reduces;
    case Operation::reduce_scatter: return reduce_scatters;
    case Operation::all_gather: return all_gathers;
    case Operation::broadcast: return broadcasts;
    case Operation::all_to_all: return all_to_alls;
    case Operation::barrier: return barriers;
  }
  return barriers;
}

const Algorithm& find_algorithm(Operation operation, std::string_view name) {
  std::string names;
  for (const Algorithm* algorithm : algorithms(operation)) {
    if (algorithm->name() == name) return *algorithm;
    names += (names.empty() ? "" : ", ") + std::string(algorithm->name());
  }
  throw UsageError(std::string(name_of(operation)), "no algorithm '" + std::string(name) + "'",
                   "choose one of " + names);
}

Network typical_network(const Communicator& comm) {
  if (const auto measured = tuned_network(comm.on_one_node())) return *measured;
  constexpr double gamma = 1.0 / 10e9;
  if (comm.on_one_node()) return {1e-6, 1.0 / 5e9, gamma};
  return {30e-6, 1.0 / 117e6, gamma};  // Gigabit Ethernet through TCP
}

}  // namespace shoal
