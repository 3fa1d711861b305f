#include <shoal/runtime/communicator.hpp>

#include <algorithm>
#include <numeric>
#include <utility>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/flight_recorder.hpp>
#include <shoal/runtime/forked.hpp>
#include <shoal/runtime/mpi_interop.hpp>

#include "communicator_impl.hpp"
#include "flight_log.hpp"

namespace shoal {
namespace {

std::shared_ptr<const WorldTable>& world_table_slot() {
  static std::shared_ptr<const WorldTable> slot;
  return slot;
}

}  // namespace

std::shared_ptr<const WorldTable> current_world_table() noexcept { return world_table_slot(); }

void set_current_world_table(std::shared_ptr<const WorldTable> table) noexcept {
  world_table_slot() = std::move(table);
}

Communicator::Impl::Impl(MPI_Comm handle, std::string group_name,
                         std::shared_ptr<const WorldTable> world_table, Handle whose)
    : comm(handle),
      owned(whose == Handle::owned),
      name(std::move(group_name)),
      recorded_name(flight::intern(name)),
      table(std::move(world_table)) {
  if (owned) {
    MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
    MPI_Comm_set_name(comm, name.c_str());
  }
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);

  std::vector<int> mine(static_cast<std::size_t>(size));
  std::iota(mine.begin(), mine.end(), 0);
  world_ranks.resize(mine.size());
  MPI_Group group = MPI_GROUP_NULL;
  check_mpi(MPI_Comm_group(comm, &group), "communicator");
  const int code =
      MPI_Group_translate_ranks(group, size, mine.data(), table->group, world_ranks.data());
  MPI_Group_free(&group);
  check_mpi(code, "communicator");
  number_nodes();
}

Communicator::Impl::Impl(const Impl& whole, std::span<const Rank> ranks, std::string group_name)
    : owned(false),
      name(std::move(group_name)),
      recorded_name(flight::intern(name)),
      table(whole.table),
      rank(static_cast<Rank>(std::find(ranks.begin(), ranks.end(), whole.rank) - ranks.begin())),
      size(static_cast<int>(ranks.size())) {
  for (const Rank each : ranks)
    world_ranks.push_back(whole.world_ranks.at(static_cast<std::size_t>(each)));
  number_nodes();
}

// Anew here, in order of each node's first rank.
void Communicator::Impl::number_nodes() {
  std::map<int, int> number_of;
  for (const Rank world : world_ranks) {
    if (world == MPI_UNDEFINED) {
      throw Error("communicator " + name, "has processes outside the Runtime's world",
                  "make the Runtime over all processes that take part");
    }
    const int node = table->nodes[static_cast<std::size_t>(world)];
    nodes.push_back(number_of.try_emplace(node, static_cast<int>(number_of.size())).first->second);
  }
  node_count = static_cast<int>(number_of.size());
}

Communicator::Impl::~Impl() {
  extensions.clear();
  if (!owned) return;
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (!finalized && comm != MPI_COMM_NULL) MPI_Comm_free(&comm);
}

Communicator::Communicator(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Communicator::Communicator(Communicator&&) noexcept = default;
Communicator& Communicator::operator=(Communicator&&) noexcept = default;
Communicator::~Communicator() {
  // What belongs to it has threads that a child does not have, and MPI is the parent's.
  if (is_forked_child()) static_cast<void>(impl_.release());
}

Rank Communicator::rank() const noexcept { return impl_->rank; }
int Communicator::size() const noexcept { return impl_->size; }
const std::string& Communicator::name() const noexcept { return impl_->name; }

Communicator Communicator::split(int colour, int key, std::string name) const {
  require_own_process("split communicator");
  // MPI makes communicators without a deadline: the watch ends the run if a rank is gone (watch.hpp).
  const flight::Scope scope(*this, {.operation = "split", .collective = false});
  MPI_Comm part = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split(impl_->comm, colour, key, &part), "split communicator");
  return Communicator(std::make_unique<Impl>(part, std::move(name), impl_->table));
}

Communicator Communicator::duplicate(std::string name) const {
  require_own_process("duplicate communicator");
  const flight::Scope scope(*this, {.operation = "duplicate", .collective = false});  // as in split()
  MPI_Comm copy = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(impl_->comm, &copy), "duplicate communicator");
  return Communicator(std::make_unique<Impl>(copy, std::move(name), impl_->table));
}

Communicator Communicator::members(std::span<const Rank> ranks, std::string name) const {
  return Communicator(std::make_unique<Impl>(*impl_, ranks, std::move(name)));
}

const std::string& Communicator::host_of(Rank rank) const {
  return impl_->table->hosts[static_cast<std::size_t>(world_rank_of(rank))];
}

int Communicator::node_of(Rank rank) const { return impl_->nodes.at(static_cast<std::size_t>(rank)); }

int Communicator::node_count() const noexcept { return impl_->node_count; }

Rank Communicator::world_rank_of(Rank rank) const {
  return impl_->world_ranks.at(static_cast<std::size_t>(rank));
}

std::shared_ptr<void>& Communicator::extension_slot(std::type_index type) const {
  return impl_->extensions[type];
}

MPI_Comm mpi_handle(const Communicator& comm) noexcept { return comm.impl().comm; }

namespace {

std::shared_ptr<const WorldTable> world_table_for(const char* operation) {
  require_own_process(operation);
  auto table = current_world_table();
  if (!table) throw Error(operation, "no shoal::Runtime is alive", "make one first");
  return table;
}

}  // namespace

Communicator adopt_communicator(MPI_Comm comm, std::string name) {
  auto table = world_table_for("adopt_communicator");
  MPI_Comm copy = MPI_COMM_NULL;
  // Not MPI_Comm_dup: it would run the copy callbacks of whatever attributes its owner has set.
  MPI_Group group = MPI_GROUP_NULL;
  check_mpi(MPI_Comm_group(comm, &group), "adopt_communicator");
  const int code = MPI_Comm_create(comm, group, &copy);
  MPI_Group_free(&group);
  check_mpi(code, "adopt_communicator");
  return Communicator(
      std::make_unique<Communicator::Impl>(copy, std::move(name), std::move(table)));
}

Communicator borrow_communicator(MPI_Comm comm, std::string name) {
  auto table = world_table_for("borrow_communicator");
  return Communicator(std::make_unique<Communicator::Impl>(
      comm, std::move(name), std::move(table), Communicator::Impl::Handle::borrowed));
}

}  // namespace shoal
