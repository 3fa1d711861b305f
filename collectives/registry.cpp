#include <shoal/collectives/registry.hpp>

#include <algorithm>

#include <shoal/runtime/cores.hpp>
#include <shoal/runtime/error.hpp>

#include "algorithm.hpp"
#include "tuning/current.hpp"
#include "all_reduce/planned.hpp"

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

std::string_view name_of(Operation operation, Purpose purpose) noexcept {
  switch (purpose) {
    case Purpose::itself: break;
    case Purpose::reduce: return "reduce";
    case Purpose::gather: return "gather";
    case Purpose::scatter: return "scatter";
  }
  return name_of(operation);
}

const std::vector<const Algorithm*>& algorithms(Operation operation) {
  // One line an algorithm. A new one is a file, a declaration in algorithm.hpp, and a line here.
  static const std::vector<const Algorithm*> all_reduces = [] {
    std::vector<const Algorithm*> all = {&all_reduce_node_shared(),
                                         &all_reduce_node_staged(),
                                         &all_reduce_node_read(),
                                         &all_reduce_recursive_doubling(),
                                         &all_reduce_recursive_multiplying(),
                                         &all_reduce_hybrid(),
                                         &all_reduce_rabenseifner(),
                                         &all_reduce_direct(),
                                         &all_reduce_ring(),
                                         &all_reduce_bidirectional_ring(),
                                         &all_reduce_gathered()};
    const auto between_nodes = hierarchical_all_reduces();
    all.insert(all.end(), between_nodes.begin(), between_nodes.end());
    all.push_back(&all_reduce_hierarchical_gathered());
    all.push_back(&all_reduce_mpi());
    return all;
  }();
  static const std::vector<const Algorithm*> reduce_scatters = {
      &reduce_scatter_node_shared(), &reduce_scatter_node_staged(), &reduce_scatter_node_read(),
      &reduce_scatter_ring(), &reduce_scatter_direct(), &reduce_scatter_hierarchical(),
      &reduce_scatter_hierarchical_gathered(), &reduce_scatter_mpi()};
  static const std::vector<const Algorithm*> all_gathers = {
      &all_gather_node_shared(), &all_gather_node_staged(), &all_gather_node_read(), &all_gather_bruck(),
      &all_gather_ring(), &all_gather_hierarchical(), &all_gather_mpi()};
  static const std::vector<const Algorithm*> broadcasts = {
      &broadcast_node_shared(), &broadcast_node_staged(), &broadcast_node_read(), &broadcast_binomial(),
      &broadcast_scatter_all_gather(), &broadcast_chain(), &broadcast_hierarchical(), &broadcast_mpi()};
  static const std::vector<const Algorithm*> all_to_alls = {
      &all_to_all_node_shared(), &all_to_all_node_staged(), &all_to_all_node_read(), &all_to_all_direct(),
      &all_to_all_pairwise(), &all_to_all_hierarchical(), &all_to_all_mpi()};
  static const std::vector<const Algorithm*> barriers = {
      &barrier_node_shared(), &barrier_dissemination(), &barrier_hierarchical(),
      &barrier_mpi()};
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
  Network network;
  network.gamma = 1.0 / 10e9;
  network.node_alpha = 1e-6;
  network.node_beta = 1.0 / 5e9;
  std::vector<int> ranks_of(static_cast<std::size_t>(comm.node_count()), 0);
  for (Rank rank = 0; rank < comm.size(); ++rank) {
    ++ranks_of[static_cast<std::size_t>(comm.node_of(rank))];
  }
  network.nodes = comm.node_count();
  network.per_node = *std::max_element(ranks_of.begin(), ranks_of.end());
  if (comm.on_one_node()) {
    network.alpha = network.node_alpha;
    network.beta = network.node_beta;
    network.overhead = 0.5e-6;
  } else {  // Gigabit Ethernet through TCP
    network.alpha = 30e-6;
    network.beta = 1.0 / 117e6;
    network.overhead = 18e-6;
  }
  // What was measured here, with two ranks at a time.
  if (const auto inside = tuned_network(true)) {
    network.node_alpha = inside->alpha;
    network.node_beta = inside->beta;
    network.gamma = inside->gamma;
  }
  if (const auto measured = tuned_network(comm.on_one_node())) {
    network.alpha = measured->alpha;
    network.beta = measured->beta;
    network.gamma = measured->gamma;
  }
  // Of several ranks that share a hardware thread each waits for the others' part in every message.
  if (!comm.on_one_node()) {
    network.alpha += (ranks_per_thread() - 1) * network.overhead;
    network.overhead *= ranks_per_thread();
  }
  return network;
}

}  // namespace shoal
