#include "preload/groups.hpp"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <numeric>
#include <set>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mpi_interop.hpp>

#include "node/node_collectives.hpp"
#include "preload/preload.hpp"

namespace shoal::preload {
namespace {

// The attribute of a communicator: a Group, or the fact that there is none.
struct Entry {
  std::shared_ptr<Group> group;
};

int keyval = MPI_KEYVAL_INVALID;
std::mutex mutex;
std::set<Entry*> entries;
// Counts the communicators that were freed: MPI may give their handles to new ones.
std::atomic<std::uint64_t> generation{1};

// The last communicator that this thread looked up.
struct Latest {
  MPI_Comm comm = MPI_COMM_NULL;
  std::uint64_t generation = 0;
  Group* group = nullptr;
};
thread_local Latest latest;

void drop(Entry* entry) {
  {
    const std::lock_guard lock(mutex);
    entries.erase(entry);
  }
  generation.fetch_add(1);
  const Inside inside;
  if (entry->group) entry->group->freed = true;
  delete entry;
}

int on_free(MPI_Comm, int, void* attribute, void*) {
  drop(static_cast<Entry*>(attribute));
  return MPI_SUCCESS;
}

// Known to all ranks alike without a word: the others' processes too are of this world or not.
bool may_share_a_node(MPI_Comm comm) {
  int inter = 0;
  PMPI_Comm_test_inter(comm, &inter);
  if (inter) return false;
  int size = 0;
  PMPI_Comm_size(comm, &size);
  if (size == 1) return false;
  MPI_Group world = MPI_GROUP_NULL;
  MPI_Group group = MPI_GROUP_NULL;
  PMPI_Comm_group(MPI_COMM_WORLD, &world);
  PMPI_Comm_group(comm, &group);
  std::vector<int> ranks(static_cast<std::size_t>(size));
  std::iota(ranks.begin(), ranks.end(), 0);
  std::vector<int> in_world(ranks.size());
  PMPI_Group_translate_ranks(group, size, ranks.data(), world, in_world.data());
  PMPI_Group_free(&world);
  PMPI_Group_free(&group);
  return std::find(in_world.begin(), in_world.end(), MPI_UNDEFINED) == in_world.end();
}

std::shared_ptr<Group> make_group(MPI_Comm comm) {
  if (!may_share_a_node(comm)) return nullptr;
  try {
    // A communicator of our own would take a round of messages and one of MPI's numbers for each; and
    // with several threads that make them at once, Open MPI may not come to an end.
    auto group = std::make_shared<Group>(borrow_communicator(comm, "the program"));
    if (!group->comm.on_one_node() || !node_control(group->comm).usable()) return nullptr;
    group->counts.resize(static_cast<std::size_t>(group->comm.size()));
    return group;
  } catch (const Error&) {
    return nullptr;
  }
}

}  // namespace

void start_groups() { PMPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, on_free, &keyval, nullptr); }

void stop_groups() noexcept {
  std::set<Entry*> left;
  {
    const std::lock_guard lock(mutex);
    left.swap(entries);
  }
  generation.fetch_add(1);
  // Their communicators keep the attribute, emptied, until MPI_Finalize or the program frees them.
  for (Entry* entry : left) entry->group.reset();
}

namespace {

Group* find_group(MPI_Comm comm, bool make) {
  const std::uint64_t now = generation.load(std::memory_order_acquire);
  if (latest.comm == comm && latest.generation == now) return latest.group;
  Entry* entry = nullptr;
  int found = 0;
  if (PMPI_Comm_get_attr(comm, keyval, &entry, &found) != MPI_SUCCESS) return nullptr;
  if (!found) {
    if (!make) return nullptr;
    auto made = std::make_unique<Entry>(Entry{make_group(comm)});
    entry = made.release();
    PMPI_Comm_set_attr(comm, keyval, entry);
    const std::lock_guard lock(mutex);
    entries.insert(entry);
  }
  latest = {comm, now, entry->group.get()};
  return latest.group;
}

}  // namespace

Group* group_of(MPI_Comm comm) { return find_group(comm, true); }
Group* known_group_of(MPI_Comm comm) { return find_group(comm, false); }

}  // namespace shoal::preload
