// What a Communicator is made of.
#pragma once

#include <mpi.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <typeindex>
#include <vector>

#include <shoal/runtime/communicator.hpp>

namespace shoal {

/// Where every rank of the Runtime's world lives. One for the process, shared by its communicators.
struct WorldTable {
  MPI_Group group = MPI_GROUP_NULL;
  std::vector<std::string> hosts;  ///< by world rank
  std::vector<int> nodes;          ///< by world rank: number of the node
  std::vector<int> node_ranks;     ///< by world rank: number among the ranks of its node
};

struct Communicator::Impl {
  enum class Handle { owned, borrowed };

  Impl(MPI_Comm handle, std::string group_name, std::shared_ptr<const WorldTable> world_table,
       Handle whose = Handle::owned);
  /// Of `whole` the members `ranks`, this process among them; no handle.
  Impl(const Impl& whole, std::span<const Rank> ranks, std::string group_name);
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl();

  MPI_Comm comm = MPI_COMM_NULL;
  bool owned = true;  ///< else the handle stays as it was found, and is not freed
  std::string name;
  const char* recorded_name = "";  ///< the same, for the flight recorder: it outlives this object
  /// Collectives called so far: numbers them alike on all ranks.
  mutable std::atomic<std::uint64_t> collectives{0};
  std::shared_ptr<const WorldTable> table;
  Rank rank = 0;
  int size = 1;
  int node_count = 1;
  std::vector<Rank> world_ranks;
  std::vector<int> nodes;
  std::map<std::type_index, std::shared_ptr<void>> extensions;

 private:
  void number_nodes();
};

/// The table of the live Runtime; null without one.
std::shared_ptr<const WorldTable> current_world_table() noexcept;
void set_current_world_table(std::shared_ptr<const WorldTable> table) noexcept;

}  // namespace shoal
