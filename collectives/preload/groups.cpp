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

// The attribute of a communicator: a Group, or the fact that there is none, or none yet.
struct Entry {
  std::shared_ptr<Group> group;
  int calls_left = 0;  // until the one in which the ranks meet; 0: they have
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
bool is_of_this_world(MPI_Comm comm) {
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

// A communicator of our own would take a round of messages and one of MPI's numbers for each; and
// with several threads that make them at once, Open MPI may not come to an end.
std::shared_ptr<Group> borrow(MPI_Comm comm) {
  try {
    return std::make_shared<Group>(borrow_communicator(comm, "the program"));
  } catch (const Error&) {
    return nullptr;
  }
}

// Collective. Whether the ranks can meet.
bool meet(Group& group) {
  try {
    if (group.comm.on_one_node()) {
      if (!node_control(group.comm).usable()) return false;
    } else {
      group.between = std::make_unique<Between>(group.comm);
      if (!group.between->usable()) return false;
    }
    group.counts.resize(static_cast<std::size_t>(group.comm.size()));
    return true;
  } catch (const Error&) {
    return false;
  }
}

// Local.
std::unique_ptr<Entry> make_entry(MPI_Comm comm) {
  auto entry = std::make_unique<Entry>();
  if (!is_of_this_world(comm)) return entry;
  entry->group = borrow(comm);
  if (entry->group == nullptr) return entry;
  entry->calls_left = entry->group->comm.on_one_node() ? 1 : calls_before_connecting;
  return entry;
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

Entry* entry_of(MPI_Comm comm) {
  Entry* entry = nullptr;
  int found = 0;
  if (PMPI_Comm_get_attr(comm, keyval, &entry, &found) != MPI_SUCCESS) return nullptr;
  if (found) return entry;
  entry = make_entry(comm).release();
  PMPI_Comm_set_attr(comm, keyval, entry);
  const std::lock_guard lock(mutex);
  entries.insert(entry);
  return entry;
}

// The group that this thread looked up last, if it is that of `comm`.
bool is_latest(MPI_Comm comm, std::uint64_t now) {
  return latest.comm == comm && latest.generation == now;
}

void count_request(Group& group) {
  group.requested = std::min(group.requested + 1, calls_before_beside);
}

// Collective where there have been enough non-blocking calls.
Group* ready(Group* group) {
  if (group == nullptr || group->requested < calls_before_beside || group->beside ||
      !group->between) {
    return group;
  }
  group->beside = std::make_unique<Beside>(group->comm);
  return group;
}

}  // namespace

Group* group_of(MPI_Comm comm, bool at_once) {
  const std::uint64_t now = generation.load(std::memory_order_acquire);
  if (is_latest(comm, now)) return ready(latest.group);
  Entry* const entry = entry_of(comm);
  if (entry == nullptr) return nullptr;
  if (entry->group != nullptr && entry->calls_left > 0) {
    if (!at_once && --entry->calls_left > 0) return nullptr;
    entry->calls_left = 0;
    if (!meet(*entry->group)) entry->group.reset();
  }
  latest = {comm, now, entry->group.get()};
  return ready(latest.group);
}

Group* group_for_request(MPI_Comm comm) {
  const std::uint64_t now = generation.load(std::memory_order_acquire);
  if (!is_latest(comm, now)) {
    Entry* const entry = entry_of(comm);
    if (entry == nullptr || entry->group == nullptr) return nullptr;
    if (entry->calls_left > 0) {
      // It may be the next blocking call that connects; this one waits for nobody.
      if (entry->calls_left > 1) --entry->calls_left;
      count_request(*entry->group);
      return nullptr;
    }
    latest = {comm, now, entry->group.get()};
  }
  if (latest.group != nullptr) count_request(*latest.group);
  return latest.group;
}

}  // namespace shoal::preload
