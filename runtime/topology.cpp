#include <shoal/runtime/topology.hpp>

#include <hwloc.h>
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/forked.hpp>
#include <shoal/runtime/mpi_interop.hpp>

#include "cgroup.hpp"
#include "node_cpus.hpp"

namespace shoal {
namespace {

struct TopologyDelete {
  void operator()(hwloc_topology_t topology) const { hwloc_topology_destroy(topology); }
};
using HwlocTopology = std::unique_ptr<hwloc_topology, TopologyDelete>;

struct BitmapDelete {
  void operator()(hwloc_bitmap_t bitmap) const { hwloc_bitmap_free(bitmap); }
};
using Bitmap = std::unique_ptr<hwloc_bitmap_s, BitmapDelete>;

HwlocTopology load_topology() {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) throw Error("topology", "hwloc cannot start");
  HwlocTopology topology(raw);
  if (hwloc_topology_load(raw) != 0) throw Error("topology", "hwloc cannot read this machine");
  return topology;
}

Bitmap binding_of_this_process(hwloc_topology_t topology) {
  Bitmap binding(hwloc_bitmap_alloc());
  if (hwloc_get_cpubind(topology, binding.get(), HWLOC_CPUBIND_PROCESS) != 0) {
    hwloc_bitmap_copy(binding.get(), hwloc_topology_get_topology_cpuset(topology));
  }
  return binding;
}

// Cores' worth of time that the control group grants, 0 if it sets no limit.
double cgroup_cpu_quota() {
  double quota = 0;
  const auto tighten = [&quota](double cores) {
    if (cores > 0) quota = quota > 0 ? std::min(quota, cores) : cores;
  };
  const CgroupFolders folders = cgroup_folders("cpu");
  for (const std::filesystem::path& group : folders.v2) {
    std::ifstream file(group / "cpu.max");
    double limit = 0;
    double period = 0;
    if (file >> limit >> period && period > 0) tighten(limit / period);
  }
  for (const std::filesystem::path& group : folders.v1) {
    std::ifstream limit_file(group / "cpu.cfs_quota_us");
    std::ifstream period_file(group / "cpu.cfs_period_us");
    double limit = 0;
    double period = 0;
    if (limit_file >> limit && period_file >> period && limit > 0 && period > 0) {
      tighten(limit / period);
    }
  }
  return quota;
}

Bytes cache_bytes(hwloc_topology_t topology, hwloc_obj_type_t type) {
  const hwloc_obj_t cache = hwloc_get_obj_by_type(topology, type, 0);
  return cache != nullptr ? cache->attr->cache.size : 0;
}

std::string processor_name(hwloc_topology_t topology) {
  if (const hwloc_obj_t package = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PACKAGE, 0)) {
    if (const char* model = hwloc_obj_get_info_by_name(package, "CPUModel")) return model;
  }
  return "unknown";
}

std::string serialise(const Machine& m) {
  return nlohmann::json{{"host", m.host},       {"processor", m.processor},
                        {"packages", m.packages}, {"numa", m.numa_nodes},
                        {"cores", m.cores},     {"threads", m.threads},
                        {"usable", m.usable_threads}, {"l1d", m.l1d},
                        {"l2", m.l2},           {"l3", m.l3},
                        {"memory", m.memory},   {"quota", m.cpu_quota}}
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Machine deserialise(const std::string& text) {
  const auto j = nlohmann::json::parse(text);
  return {j.at("host"),   j.at("processor"), j.at("packages"), j.at("numa"),
          j.at("cores"),  j.at("threads"),   j.at("usable"),   j.at("l1d"),
          j.at("l2"),     j.at("l3"),        j.at("memory"),   j.at("quota")};
}

}  // namespace

Machine local_machine() {
  const HwlocTopology topology = load_topology();
  const Bitmap binding = binding_of_this_process(topology.get());
  const auto count = [&](hwloc_obj_type_t type) {
    return std::max(0, hwloc_get_nbobjs_by_type(topology.get(), type));
  };
  Machine machine;
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  machine.host = host;
  machine.processor = processor_name(topology.get());
  machine.packages = count(HWLOC_OBJ_PACKAGE);
  machine.numa_nodes = count(HWLOC_OBJ_NUMANODE);
  machine.cores = count(HWLOC_OBJ_CORE);
  machine.threads = count(HWLOC_OBJ_PU);
  machine.usable_threads = std::max(1, hwloc_bitmap_weight(binding.get()));
  machine.l1d = cache_bytes(topology.get(), HWLOC_OBJ_L1CACHE);
  machine.l2 = cache_bytes(topology.get(), HWLOC_OBJ_L2CACHE);
  machine.l3 = cache_bytes(topology.get(), HWLOC_OBJ_L3CACHE);
  machine.memory = static_cast<Bytes>(sysconf(_SC_PHYS_PAGES)) *
                   static_cast<Bytes>(sysconf(_SC_PAGESIZE));
  machine.cpu_quota = cgroup_cpu_quota();
  return machine;
}

// MPI's collectives here block without a deadline: the watch ends them where a rank is gone.
Topology::Topology(const Communicator& comm) {
  require_own_process("topology");
  const MPI_Comm handle = mpi_handle(comm);
  std::string mine = serialise(local_machine());
  int length = static_cast<int>(mine.size());
  const auto ranks = static_cast<std::size_t>(comm.size());
  std::vector<int> lengths(ranks);
  check_mpi(MPI_Allgather(&length, 1, MPI_INT, lengths.data(), 1, MPI_INT, handle), "topology");
  std::vector<int> starts(ranks, 0);
  for (std::size_t i = 1; i < ranks; ++i) starts[i] = starts[i - 1] + lengths[i - 1];
  std::string all(static_cast<std::size_t>(starts.back() + lengths.back()), '\0');
  check_mpi(MPI_Allgatherv(mine.data(), length, MPI_CHAR, all.data(), lengths.data(),
                           starts.data(), MPI_CHAR, handle),
            "topology");
  nodes_.resize(static_cast<std::size_t>(comm.node_count()));
  for (Rank rank = 0; rank < comm.size(); ++rank) {
    const auto i = static_cast<std::size_t>(rank);
    Node& node = nodes_[static_cast<std::size_t>(comm.node_of(rank))];
    const Machine machine = deserialise(
        all.substr(static_cast<std::size_t>(starts[i]), static_cast<std::size_t>(lengths[i])));
    if (node.ranks.empty()) {
      node.host = machine.host;
      node.machine = machine;
    }
    node.ranks.push_back(rank);
  }
  node_usable_threads_ = node_cpus(comm).all;
}

namespace {

// What containers and network namespaces of one machine have in common: its kernel, as it was
// started, and the hardware threads that they may use. Others' threads are none of this rank's
// business.
std::uint64_t identity_of(const std::vector<std::uint64_t>& threads) {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  if (boot.empty()) {
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    boot = host;
  }
  for (const std::uint64_t word : threads) boot += ' ' + std::to_string(word);
  return std::hash<std::string>{}(boot);
}

// Hosts that are containers of one machine do not know of each other; counted are all ranks of it.
void count_ranks_in_all(const Communicator& comm, const std::vector<std::uint64_t>& threads,
                        NodeCpus& cpus) {
  const std::uint64_t mine = identity_of(threads);
  std::vector<std::uint64_t> all(static_cast<std::size_t>(comm.size()));
  check_mpi(MPI_Allgather(&mine, 1, MPI_UINT64_T, all.data(), 1, MPI_UINT64_T, mpi_handle(comm)),
            "topology");
  cpus.ranks_in_all = static_cast<int>(std::count(all.begin(), all.end(), mine));
  cpus.crowding = std::max(1.0, static_cast<double>(cpus.ranks_in_all) / std::max(1, cpus.all));
  if (cpus.quota > 0) cpus.crowding = std::max(cpus.crowding, cpus.ranks / cpus.quota);
  check_mpi(MPI_Allreduce(MPI_IN_PLACE, &cpus.crowding, 1, MPI_DOUBLE, MPI_MAX, mpi_handle(comm)),
            "topology");
}

}  // namespace

NodeCpus node_cpus(const Communicator& comm) {
  // Not by node_of(): nodes as which one machine poses (SHOAL_NODES) have its cores in common, and a rank that
  // spun there would keep whom it waits for off them until the next tick of the scheduler.
  MPI_Comm node = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(mpi_handle(comm), MPI_COMM_TYPE_SHARED, comm.rank(), MPI_INFO_NULL,
                                &node),
            "topology");
  const HwlocTopology topology = load_topology();
  const Bitmap binding = binding_of_this_process(topology.get());

  // As one bit for each hardware thread: unions and comparisons are then MPI's own operations.
  constexpr unsigned words = 64;
  std::vector<std::uint64_t> mask(words, 0);
  unsigned bit = 0;
  hwloc_bitmap_foreach_begin(bit, binding.get()) {
    if (bit < words * 64) mask[bit / 64] |= std::uint64_t{1} << (bit % 64);
  }
  hwloc_bitmap_foreach_end();
  int ranks = 0;
  MPI_Comm_size(node, &ranks);
  std::vector<std::uint64_t> masks(words * static_cast<std::size_t>(ranks));
  const int code = MPI_Allgather(mask.data(), words, MPI_UINT64_T, masks.data(), words,
                                 MPI_UINT64_T, node);
  MPI_Comm_free(&node);
  check_mpi(code, "topology");

  NodeCpus cpus;
  cpus.ranks = ranks;
  std::vector<std::uint64_t> all(words, 0);
  for (int rank = 0; rank < ranks; ++rank) {
    const std::uint64_t* theirs = masks.data() + static_cast<std::size_t>(rank) * words;
    cpus.ranks_with_same += std::equal(mask.begin(), mask.end(), theirs) ? 1 : 0;
    for (unsigned word = 0; word < words; ++word) all[word] |= theirs[word];
  }
  for (unsigned number = 0; number < words * 64; ++number) {
    if ((all[number / 64] >> (number % 64) & 1) != 0) cpus.numbers.push_back(static_cast<int>(number));
  }
  cpus.all = static_cast<int>(cpus.numbers.size());
  // Compute threads go one to a core: two hardware threads share its multipliers.
  const int cores = hwloc_get_nbobjs_inside_cpuset_by_type(topology.get(), binding.get(),
                                                           HWLOC_OBJ_CORE);
  cpus.own_cores = cores > 0 ? cores : std::max(1, hwloc_bitmap_weight(binding.get()));
  cpus.quota = cgroup_cpu_quota();
  count_ranks_in_all(comm, all, cpus);
  return cpus;
}

}  // namespace shoal
